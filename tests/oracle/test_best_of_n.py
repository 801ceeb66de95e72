"""The law of the best of n, beside all n-tuples of texts, a simulation, and what is known of it."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_reference import bigram, chances_of, micro_env, texts_of, uniform

import textgym
from textgym.errors import TaskError
from textgym.oracle import solve
from textgym.worlds.micro import WORLDS


def every_tuple(chances, returns, n):
    """How likely the best of n drawn texts is each text; of equally good ones the first that was drawn."""
    law = dict.fromkeys(chances, 0.0)
    for drawn in itertools.product(chances, repeat=n):
        best = max(drawn, key=lambda text: round(returns[text], 9))  # max keeps the first
        law[best] += math.prod(chances[text] for text in drawn)
    return law


@pytest.mark.parametrize("world", ["bigram", "grammar", "key-token", "random"])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_law_is_that_of_all_tuples_of_texts(world, n):
    env = micro_env(world, 3, 2)
    texts = texts_of(env)
    returns = {text: sum(rewards) for text, rewards in texts.items()}
    chances = chances_of(texts, bigram(env.task))
    law = every_tuple(chances, returns, n)
    solution = solve(env, beta=1.0, reference="bigram")
    found = solution.best_of_n(n, solution.reference_policy)
    for reward, probability in zip(found.rewards, found.probabilities, strict=True):
        due = sum(chance for text, chance in law.items() if abs(returns[text] - reward) < 1e-9)
        assert probability == pytest.approx(due, abs=1e-12)
    assert found.expected_reward == pytest.approx(sum(law[text] * returns[text] for text in texts), abs=1e-12)
    nats = sum(chance * math.log(chance / chances[text]) for text, chance in law.items() if chance > 0)
    assert found.kl == pytest.approx(nats, abs=1e-12)
    assert found.bound == math.log(n) - (n - 1) / n and found.kl <= found.bound + 1e-12


def test_the_law_is_that_of_a_simulation():
    env = micro_env("bigram", 4, 4)
    texts = texts_of(env)
    returns, chances = np.array([sum(r) for r in texts.values()]), np.array([*chances_of(texts, uniform).values()])
    found = solve(env).best_of_n(8)
    rng = np.random.default_rng(0)
    best = returns[rng.choice(len(texts), size=(40_000, 8), p=chances / chances.sum())].max(axis=1)
    assert abs(best.mean() - found.expected_reward) < 4 * best.std() / 200
    counts = np.array([np.abs(best - reward).__lt__(1e-9).mean() for reward in found.rewards])
    spread = np.sqrt(found.probabilities * (1 - found.probabilities) / 40_000)
    assert (np.abs(counts - found.probabilities) < 5 * spread + 1e-9).all()


@settings(max_examples=15, deadline=None)
@given(world=st.sampled_from(WORLDS), n=st.integers(1, 5000))
def test_more_texts_are_never_worse_and_never_nearer(world, n):
    solution = solve(textgym.micro(world, vocab_size=3, horizon=4))
    one, more = solution.best_of_n(n), solution.best_of_n(n + 1)
    assert one.probabilities.sum() == pytest.approx(1) and one.base.sum() == pytest.approx(1)
    assert one.expected_reward <= more.expected_reward + 1e-12 <= solution.value + 1e-9
    assert one.kl <= more.kl + 1e-12 and -1e-12 <= one.kl <= one.bound + 1e-9
    assert (np.diff(one.rewards) > 0).all()


def test_very_many_texts_find_the_best_one():
    solution = solve(textgym.micro("bigram", vocab_size=3, horizon=4))
    law = solution.best_of_n(10**7)
    assert law.expected_reward == pytest.approx(solution.value)
    assert law.kl == pytest.approx(-math.log(law.base[-1]))


@pytest.mark.parametrize("n", [0, -1, True])
def test_the_best_of_nothing_is_an_error(n):
    with pytest.raises(TaskError, match="the best of at least 1 text"):
        solve(textgym.micro("bigram", vocab_size=3, horizon=3)).best_of_n(n)
