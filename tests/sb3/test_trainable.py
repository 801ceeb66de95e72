"""Policies of which the vectors alone are trained."""

import pytest
import torch
from stable_baselines3 import PPO
from textgym.agents.rloo import RLOO

from textgym.envs.tasks import make_task
from textgym.errors import SpaceError
from textgym.sb3 import PPO_DEFAULTS, TransformerPolicy, make_sb3_env

NETWORK = {"model": {"n_layer": 2, "n_head": 2, "n_embd": 16}, "trainable": "vectors"}


@pytest.fixture(scope="module")
def task(tiny_corpus):
    return make_task(corpus=str(tiny_corpus), tokenizer="word", vocab_size=64, max_new_tokens=10)


def rloo(task, **network):
    env = make_sb3_env(n_envs=8, task=task, reward="distinct(n=1)", autoreset=False, group_size=4, seed=0)
    known = {
        "policy_kwargs": {**NETWORK, **network},
        "seed": 0,
        "device": "cpu",
        "learning_rate": 1e-2,
        "max_grad_norm": None,
    }
    return RLOO(TransformerPolicy, env, **known)


def ppo(task):
    env = make_sb3_env(n_envs=8, task=task, reward="distinct(n=1)", seed=0)
    settings = dict(PPO_DEFAULTS, n_steps=10, batch_size=80)
    return PPO(TransformerPolicy, env, policy_kwargs=NETWORK, seed=0, device="cpu", **settings)


@pytest.mark.parametrize("make", [rloo, ppo])
def test_matrices_rest_and_vectors_learn(task, make):
    agent = make(task)
    before = {name: p.detach().clone() for name, p in agent.policy.transformer.named_parameters()}
    agent.learn(200)
    moved = {name: not torch.equal(p, before[name]) for name, p in agent.policy.transformer.named_parameters()}
    assert all(moved[name] == (p.ndim < 2) for name, p in before.items() if "qkv.bias" not in name)
    trained = sum(p.numel() for group in agent.policy.optimizer.param_groups for p in group["params"])
    assert trained < sum(p.numel() for p in agent.policy.parameters()) / 5


def test_the_gradient_of_a_vector_is_what_it_is_when_all_is_trained(task):
    found = []
    for which in ("all", "vectors"):
        agent = rloo(task, trainable=which)
        agent.lr_schedule = lambda _: 0.0
        agent.learn(1)
        found.append({name: p.grad for name, p in agent.policy.transformer.named_parameters() if p.ndim < 2})
    for name, gradient in found[1].items():
        assert torch.allclose(gradient, found[0][name], atol=1e-7), name
    assert agent.policy.transformer.wte.weight.grad is None


def test_a_saved_agent_goes_on_as_it_was(task, tmp_path):
    agent = rloo(task).learn(100)
    agent.save(tmp_path / "agent.zip")
    again = RLOO.load(tmp_path / "agent.zip", env=agent.env, device="cpu")
    matrix = again.policy.transformer.wte.weight.detach().clone()
    again.learn(100)
    assert torch.equal(again.policy.transformer.wte.weight, matrix) and not matrix.requires_grad


def test_what_cannot_be_trained_is_an_error(task):
    with pytest.raises(SpaceError, match="'all' or 'vectors'"):
        rloo(task, trainable="biases")
    with pytest.raises(SpaceError, match="they are all"):
        rloo(task, lora={"r": 2})
