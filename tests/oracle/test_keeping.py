"""Which ways to pay keep the optimum: potential-based shaping always, others where the return is the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import textgym
from textgym.errors import TaskError
from textgym.oracle import keeps_optimum, solve
from textgym.worlds.micro import WORLDS


@settings(max_examples=25, deadline=None)
@given(
    world=st.sampled_from(WORLDS),
    delivery=st.sampled_from(["terminal", "per_token", "shaped"]),
    gamma=st.sampled_from([1.0, 0.9, 0.5]),
    seed=st.integers(0, 30),
)
def test_deliveries_keep_the_optimum_as_the_theory_says(world, delivery, gamma, seed):
    task = textgym.micro(world, vocab_size=3, horizon=4, seed=seed)
    verdict = keeps_optimum(task, delivery, gamma=gamma)
    assert verdict.best == solve(task, gamma).value
    if delivery != "per_token" or gamma == 1:
        assert verdict.keeps and verdict.worst == pytest.approx(verdict.best)


def test_paying_early_loses_the_optimum_below_gamma_one_and_the_verdict_shows_how():
    tasks = [textgym.micro("bigram", vocab_size=4, horizon=5, seed=seed) for seed in range(6)]
    verdicts = [keeps_optimum(task, "per_token", gamma=0.7) for task in tasks]
    lost = [verdict for verdict in verdicts if not verdict.keeps]
    assert lost, "what comes early counts more than what comes late: another task"
    for verdict in lost:
        assert verdict.worst < verdict.best
        assert str(verdict).startswith("loses the optimum: it allows")


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), gamma=st.sampled_from([1.0, 0.6]), world=st.sampled_from(WORLDS))
def test_shaping_by_any_potential_keeps_the_optimum(seed, gamma, world):
    """Ng, Harada and Russell 1999: F = gamma Phi(s') - Phi(s), whatever Phi is."""
    task = textgym.micro(world, vocab_size=3, horizon=4)
    wanted = solve(task, gamma)
    tree, potential = wanted.tree, np.random.default_rng(seed).normal(size=len(wanted.tree))

    def paid(batch):
        return np.array([one(ids.tolist()) for ids in batch.completions])

    def one(ids):
        place = tree.place(ids[:-1])
        child = int(tree.children[place, ids[-1]])
        ahead = gamma * potential[child] if child >= 0 else 0.0
        return tree.rewards[place, ids[-1]] + ahead - potential[place]

    verdict = keeps_optimum(task, paid, gamma=gamma)
    assert verdict.keeps and verdict.best == wanted.value
    assert str(verdict).startswith("keeps the optimum")


def test_a_bonus_for_length_loses_the_grammars_optimum_and_shows_the_text():
    task = textgym.micro("grammar", vocab_size=4, horizon=5)

    def paid(batch):
        accepted = textgym.scorers.micro_grammar().score(batch).values
        last = np.array([ids[-1] == 2 or len(ids) == 5 for ids in batch.completions])
        return np.where(last, accepted, 0.0) + bonus

    bonus = 0.01
    verdict = keeps_optimum(task, paid)
    assert verdict.keeps and len(verdict.completion) == 5, "small enough to decide between texts that are accepted"
    bonus = 0.6
    assert keeps_optimum(task, paid).keeps, "the longest texts hold accepted ones"
    bonus = -0.6
    verdict = keeps_optimum(task, paid)
    assert not verdict.keeps and (verdict.worst, verdict.best) == (0, 1)
    assert verdict.completion == (2,) and verdict.text == ""


def test_a_tie_that_the_dense_reward_leaves_open_is_decided_for_the_worst():
    verdict = keeps_optimum(textgym.micro("grammar", vocab_size=3, horizon=3), lambda batch: np.zeros(len(batch)))
    assert not verdict.keeps and verdict.worst == 0


@pytest.mark.parametrize("paid", [lambda batch: np.zeros(3), lambda batch: np.full(len(batch), np.nan)])
def test_a_dense_reward_that_is_none_is_an_error(paid):
    with pytest.raises(TaskError, match="the dense reward returned shape"):
        keeps_optimum(textgym.micro("bigram", vocab_size=3, horizon=3), paid)
