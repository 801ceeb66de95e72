"""TRPO on text: the same update as sb3-contrib's, from fewer backward passes."""

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

pytest.importorskip("sb3_contrib", reason="TRPO: pip install 'textgym[contrib]'")
from sb3_contrib import TRPO
from textgym.agents import trpo
from textgym.agents.exact_policy import agent_policy

import textgym
from textgym.errors import TaskError
from textgym.models.checkpoint import new_model, save_checkpoint
from textgym.oracle import solve
from textgym.sb3 import make_sb3_env

SETTINGS = {"seed": 0, "device": "cpu", "n_steps": 8, "batch_size": 128}


@pytest.fixture(scope="module")
def task():
    return textgym.micro("bigram", vocab_size=4, horizon=4)


@pytest.fixture
def make(task):
    def agent(model="tiny", **settings):
        return trpo.build(make_sb3_env(n_envs=16, task=task, seed=1), model, **{**SETTINGS, **settings})

    return agent


def test_its_gradients_are_those_of_sb3_contribs_own(make):
    agent = make()
    agent.learn(8 * 16)
    (data,) = agent.rollout_buffer.get(None)
    now, before = (agent.policy.get_distribution(data.observations) for _ in range(2))
    with torch.no_grad():
        before.distribution.logits += torch.randn_like(before.distribution.logits)
    objective = (now.log_prob(data.actions.long().flatten()) * data.advantages).mean()
    kl = kl_divergence(now.distribution, Categorical(logits=before.distribution.logits.detach())).mean()
    ours, theirs = (kind._compute_actor_grad(agent, kl, objective) for kind in (trpo.TransformerTRPO, TRPO))
    assert [id(p) for p in ours[0]] == [id(p) for p in theirs[0]] and ours[3] == theirs[3]
    for found, due in zip(ours[1:3], theirs[1:3], strict=True):
        torch.testing.assert_close(found, due, rtol=1e-4, atol=1e-7)
        assert found.norm() > 1e-3
    vector = torch.randn(len(ours[2]), generator=torch.Generator().manual_seed(0))
    products = [agent.hessian_vector_product(g[0], g[2], vector, retain_graph=True) for g in (ours, theirs)]
    torch.testing.assert_close(*products, rtol=1e-3, atol=1e-5)


def test_an_update_stays_within_its_kl_and_raises_the_return(make, task):
    agent, solution = make(target_kl=0.02), solve(task)
    before = solution.regret(agent_policy(agent))
    agent.learn(8 * 8 * 16)
    assert 0 < agent.logger.name_to_value["train/kl_divergence_loss"] <= 0.02
    assert solution.regret(agent_policy(agent)) < before - 0.1


def test_the_penalty_is_paid_in_its_reward(make, task, tmp_path):
    model = new_model("tiny", vocab_size=task.tokenizer.vocab_size, context=task.observation_length, banned=(0, 1))
    save_checkpoint(tmp_path / "model", model, task.tokenizer)
    agent = make(str(tmp_path / "model"), kl_coef=0.5)
    agent.learn(2 * 8 * 16)
    assert agent.rollout_buffer.kl_coef == 0.5 and agent.rollout_buffer.kl_penalty != 0


def test_what_it_cannot_do_is_refused(make):
    with pytest.raises(TaskError, match="sub_sampling_factor=2"):
        make(sub_sampling_factor=2)
    with pytest.raises(TaskError, match='kl_in="loss": TRPO climbs the surrogate'):
        make(kl_in="loss", kl_coef=0.1)
