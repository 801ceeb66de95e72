"""REINFORCE, RLOO and GRPO: their advantages by hand, and the optimum of a small world."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from textgym.agents import grpo, reinforce, rloo
from textgym.agents.exact_policy import agent_policy
from textgym.agents.grpo import GRPO
from textgym.agents.reinforce import REINFORCE
from textgym.agents.rloo import RLOO

import textgym
from textgym.oracle import solve
from textgym.sb3 import TransformerPolicy, make_sb3_env

# Four texts of two prompts, at most three steps; the second one is shorter.
REWARDS = np.array([[1.0, 2, 0, 4], [0, 3, 0, 0], [5, 0, 1, 2]], np.float32)
VALUES = np.array([[1.0, 1, 1, 1], [2, 2, 2, 2], [3, 0, 3, 3]], np.float32)
TO_GO = np.array([[6.0, 5, 1, 6], [5, 3, 1, 2], [5, 0, 1, 2]])


def rollout():
    return SimpleNamespace(
        rewards=REWARDS, values=VALUES, valid=np.ones(4, bool), group_size=2, n_envs=4, returns=None, ended=None
    )


def made(algorithm, **settings):
    agent = algorithm.__new__(algorithm)
    known = {"gamma": 1.0, "group_size": 2, "reward_to_go": True, "critic": False, "scale_advantages": True}
    agent.__dict__ |= known | settings
    return agent


@pytest.mark.parametrize(
    ("settings", "due"),
    [
        ({"baseline": "none"}, TO_GO),
        ({"baseline": "none", "reward_to_go": False}, np.tile(TO_GO[:1], (3, 1))),
        ({"baseline": "mean"}, TO_GO - [[4.5], [2.75], [2]]),
        ({"baseline": "leave_one_out"}, TO_GO - [[5, 6, 6, 1], [3, 5, 2, 1], [0, 5, 2, 1]]),
        ({"baseline": "leave_one_out", "reward_to_go": False}, np.tile([[1, -1, -5, 5]], (3, 1))),
        ({"baseline": "value", "critic": True}, TO_GO - VALUES),
        ({"baseline": "value", "critic": True, "reward_to_go": False}, TO_GO[:1] - VALUES),
    ],
    ids=lambda x: "-".join(map(str, x.values())) if isinstance(x, dict) else "",
)
def test_the_advantages_of_reinforce_by_hand(settings, due):
    np.testing.assert_allclose(made(REINFORCE, **settings).advantages(rollout()), due)


def test_a_discount_weighs_each_step_by_when_it_was_taken():
    """gamma 1/2: G_0 = 1 + 5/4, G_1 = 5/2, G_2 = 5 of the first text; the gradient of J has gamma^t before each."""
    found = made(REINFORCE, baseline="none", gamma=0.5).advantages(rollout())
    np.testing.assert_allclose(found[:, 0], [2.25, 1.25, 1.25])
    whole = made(REINFORCE, baseline="none", gamma=0.5, reward_to_go=False).advantages(rollout())
    np.testing.assert_allclose(whole[:, 0], [2.25, 2.25, 2.25])


def test_the_advantages_of_rloo_and_grpo_by_hand():
    np.testing.assert_allclose(made(RLOO).advantages(rollout()), np.tile([[1, -1, -5, 5]], (3, 1)))
    np.testing.assert_allclose(
        made(GRPO, scale_advantages=False).advantages(rollout()), np.tile([[0.5, -0.5, -2.5, 2.5]], (3, 1))
    )
    root = 0.5**0.5
    found = made(GRPO).advantages(rollout())
    np.testing.assert_allclose(found, np.tile([[root, -root, -root, root]], (3, 1)), rtol=1e-3)


@pytest.mark.parametrize(
    ("ratio", "advantage", "due", "slope"),
    [
        (1.0, 2.0, 2.0, True),
        (1.5, 2.0, 1.28 * 2, False),  # clipped above, by the higher range
        (0.5, 2.0, 0.5 * 2, True),
        (0.5, -2.0, 0.8 * -2, False),  # clipped below
        (1.5, -2.0, 1.5 * -2, True),
    ],
)
def test_the_ratio_is_clipped_where_it_would_pay(ratio, advantage, due, slope):
    agent = made(GRPO, clip_range=0.2, clip_range_high=0.28)
    logprobs = torch.tensor([np.log(ratio)], requires_grad=True)
    sample = SimpleNamespace(old_log_prob=torch.zeros(1), advantages=torch.tensor([advantage]))
    found = agent.surrogate(logprobs, sample)
    assert found.item() == pytest.approx(due)
    assert (torch.autograd.grad(found.sum(), logprobs)[0].item() != 0) == slope


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        (REINFORCE, {}),
        (REINFORCE, {"baseline": "value"}),
        (RLOO, {}),
        (GRPO, {"n_epochs": 4, "batch_size": 128, "learning_rate": 1e-3}),
        (GRPO, {"scale_advantages": False, "aggregate": "token_sum", "max_grad_norm": None}),
    ],
    ids=["reinforce", "reinforce-value", "rloo", "grpo", "dr-grpo"],
)
def test_they_reach_the_optimum_of_a_small_world(algorithm, settings):
    task = textgym.micro("bigram", vocab_size=4, horizon=4)
    env = make_sb3_env(n_envs=64, task=task, autoreset=False, group_size=16, delivery="per_token")
    network = {"model": {"n_layer": 1, "n_head": 2, "n_embd": 32}}
    known = {"learning_rate": 5e-3, "policy_kwargs": network, "seed": 0, "device": "cpu"}
    agent = algorithm(TransformerPolicy, env, **known | settings)
    solution = solve(task)
    agent.learn(25_000)
    assert solution.regret(agent_policy(agent, deterministic=True)) < 1e-6
    assert solution.regret(agent_policy(agent)) < 0.03


@pytest.mark.parametrize(("module", "group"), [(reinforce, None), (rloo, 8), (grpo, 8)])
def test_a_builder_says_what_environment_it_needs(module, group):
    assert module.build.environment["autoreset"] is False
    assert module.build.environment.get("group_size") == group
