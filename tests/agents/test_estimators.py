"""Gradient estimators beside the exact policy gradient: the right ones pass, biased and wrong ones do not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from textgym.benchmarks.oracle.bias import bias, hotelling
from textgym.benchmarks.oracle.cases import CASES
from textgym.benchmarks.oracle.estimators import Plan, is_biased, measured, sampled
from textgym.benchmarks.oracle.targets import score_directions, targets, tree_logprobs

import textgym
from textgym.errors import TaskError
from textgym.oracle import solve
from textgym.sb3 import TransformerPolicy, make_sb3_env

PLAN = Plan(texts=1_920, rows=64, directions=6)

RIGHT = (
    "REINFORCE, whole return",
    "REINFORCE, reward to go, leave one out",
    "REINFORCE, reward to go, gamma .8",
    "RLOO",
    "GRPO, no std, token sum",
    "PPO, texts of one length",
    "KL in the reward",
    "KL in the loss, full",
)
OTHERS = ("GRPO, std, token sum", "GRPO, no std, sequence mean", "GRPO, second step, clip .2")
WRONG = ("wrong sign", "reward to go, off by one", "baseline that looks at the action")


def named(name):
    return next(case for case in CASES if case.name == name)


@pytest.mark.parametrize("name", RIGHT)
def test_the_mean_of_a_right_estimator_is_the_exact_gradient(name):
    row = measured(PLAN, named(name))
    assert row["kind"] == "unbiased" and not is_biased(row), row["measured"]
    assert abs(row["measured"]["length"] - 1) < 4 * row["measured"]["error"] < 0.8


@pytest.mark.parametrize("name", OTHERS + WRONG)
def test_biased_and_wrong_estimators_fail_the_same_test(name):
    row = measured(PLAN, named(name))
    assert row["kind"] != "unbiased" and is_biased(row), row["measured"]


def test_a_mean_that_a_text_is_part_of_shrinks_the_gradient_by_its_share():
    few = replace(named("REINFORCE, reward to go, mean of 8"), rows=2, share=1 - 1 / 2)
    found = sampled(replace(PLAN, texts=4 * 480), few)
    exact = found.due / found.share
    assert bias(found.gradients, found.due, found.directions).p > 0.01 / len(CASES)
    assert bias(found.gradients, exact, found.directions).p < 0.01 / len(CASES)


def test_nothing_moves_while_gradients_are_kept():
    found = [sampled(replace(PLAN, texts=texts), named(OTHERS[-1])) for texts in (200, 400)]
    np.testing.assert_array_equal(found[0].due, found[1].due)
    np.testing.assert_array_equal(found[0].gradients, found[1].gradients[: len(found[0].gradients)])


def test_the_test_has_its_level_and_finds_a_shift():
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(5, 5))
    samples = [rng.normal(size=(60, 5)) @ mixed for _ in range(400)]
    found = np.array([hotelling(each, np.zeros(5)) for each in samples])
    assert abs((found < 0.1).mean() - 0.1) < 4 * np.sqrt(0.09 / 400)
    assert hotelling(samples[0] + mixed[0], np.zeros(5)) < 1e-6


def test_length_and_cosine_of_a_mean_that_is_known():
    rng = np.random.default_rng(0)
    due, across = np.zeros(20), np.zeros(20)
    due[0], across[1] = 2.0, 1.0
    samples = 0.5 * due + across + rng.normal(size=(4000, 20)) * 0.05
    found = bias(samples, due, across[None])
    assert found.length == pytest.approx(0.5, abs=0.01) and found.cosine == pytest.approx(np.sqrt(0.5), abs=0.01)
    assert found.noise == pytest.approx(0.05 * np.sqrt(20) / 2, rel=0.05)
    assert found.p < 1e-9 and found.p_direction < 1e-9
    longer = bias(samples - across, due, across[None])
    assert longer.p < 1e-9 < 0.01 < longer.p_direction


def test_too_few_rollouts_are_an_error_and_no_proof():
    with pytest.raises(TaskError, match="8 rollouts say nothing along 9 directions"):
        bias(np.ones((8, 20)), np.ones(20), np.eye(20)[:8])


@pytest.fixture(scope="module")
def known():
    task = textgym.micro("bigram", vocab_size=3, horizon=3)
    env = make_sb3_env(n_envs=2, task=task)
    torch.manual_seed(0)
    shape = {"n_layer": 1, "n_head": 1, "n_embd": 4}
    policy = TransformerPolicy(env.observation_space, env.action_space, lambda _: 0.0, model=shape)
    with torch.no_grad():
        for parameter in policy.transformer.parameters():
            parameter.mul_(4)
    return policy, solve(task, beta=0.7)


def test_gradients_of_the_kl_are_slopes(known):
    """By the oracle's own KL of texts, which is not differentiated."""
    policy, solution = known
    reference, beta = solution.soft.reference, 0.7
    parameters = [*policy.transformer.parameters()]
    exact = targets(solution, policy, reference, beta)
    by = torch.randn(len(exact["kl"]), generator=torch.Generator().manual_seed(0))
    worth = []
    for step in (1e-3, -2e-3):
        parts = (step * by).split([parameter.numel() for parameter in parameters])
        with torch.no_grad():
            for parameter, part in zip(parameters, parts, strict=True):
                parameter += part.reshape(parameter.shape)
        found = solution.evaluate(lambda prefixes: tree_logprobs(policy, solution.tree).detach().numpy())
        worth.append(found.soft_value)
    with torch.no_grad():
        for parameter, part in zip(parameters, (1e-3 * by).split([p.numel() for p in parameters]), strict=True):
            parameter += part.reshape(parameter.shape)
    slope = (worth[0] - worth[1]) / 2e-3
    assert slope == pytest.approx(float(exact["kl"] @ by), rel=2e-3)
    assert abs(slope - float(exact["kl of states"] @ by)) > 0.01 * abs(slope)


def test_score_directions_span_the_exact_gradient(known):
    policy, solution = known
    gradient = targets(solution, policy)["return"].numpy()
    directions = score_directions(solution, policy, 100)
    np.testing.assert_allclose(directions @ directions.T, np.eye(len(directions)), atol=1e-5)
    np.testing.assert_allclose(directions.T @ (directions @ gradient), gradient, atol=1e-4 * np.linalg.norm(gradient))
    assert len(score_directions(solution, policy, 2)) == 2
