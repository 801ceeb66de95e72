"""What a policy is worth: its value, its regret, its exact advantages, and policies that are none."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_reference import chances_of, discounted, micro_env, prefixes_of, texts_of

import textgym
from textgym.errors import TaskError
from textgym.oracle import conditioned, language_model, solve, tabular, uniform
from textgym.worlds.micro import WORLDS

worlds = pytest.mark.parametrize("world", WORLDS)


@worlds
def test_regret_is_one_for_the_uniform_policy_and_zero_for_the_best(world):
    solution = solve(textgym.micro(world, vocab_size=4, horizon=5), beta=0.4, reference="bigram")
    assert solution.regret(uniform) == 1.0
    assert solution.regret(solution.optimal_policy) == pytest.approx(0.0, abs=1e-12)
    best, soft = solution.evaluate(solution.optimal_policy), solution.evaluate(solution.soft_policy)
    assert best.value == pytest.approx(solution.value) and best.soft_regret > 0
    assert soft.soft_value == pytest.approx(solution.soft_value, abs=1e-10)
    assert soft.value == pytest.approx(solution.expected_reward, abs=1e-10)
    assert soft.kl == pytest.approx(solution.kl, abs=1e-10)
    assert soft.soft_regret == pytest.approx(0, abs=1e-10) and 0 < soft.regret < 1
    assert solution.evaluate(solution.reference_policy).kl == pytest.approx(0, abs=1e-12)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), gamma=st.sampled_from([1.0, 0.7]), world=st.sampled_from(WORLDS))
def test_the_value_of_a_table_is_the_mean_over_all_texts(seed, gamma, world):
    env = micro_env(world, 3, 3, delivery="per_token", gamma=gamma)
    texts = texts_of(env)
    rng = np.random.default_rng(seed)
    table = {prefix: [0.0, 0.0, *rng.dirichlet(np.full(3, 0.5))] for prefix in prefixes_of(texts)}
    chances = chances_of(texts, lambda prefix, action, _: math.log(max(table[prefix][action], 1e-300)))
    solution = solve(env, beta=1.0)
    found = solution.evaluate(tabular(table))
    expected = sum(chances[text] * discounted(rewards, gamma) for text, rewards in texts.items())
    assert found.value == pytest.approx(expected, abs=1e-10)
    assert found.regret == pytest.approx(
        (solution.value - expected) / (solution.value - solution.uniform_value), abs=1e-9
    )
    nats = sum(chances[text] * math.log(chances[text] * 3.0 ** len(text)) for text in texts if chances[text] > 0)
    assert found.kl == pytest.approx(nats, abs=1e-9)
    assert found.value <= solution.value + 1e-12 and found.soft_value <= solution.soft_value + 1e-12
    values = solution.policy_values(tabular(table))
    assert values.v[0] == pytest.approx(expected, abs=1e-10)
    mean = (
        np.exp(conditioned(np.log(np.array([*table.values()]) + 1e-300), solution.tree.masks))
        * np.where(solution.tree.masks, values.advantages, 0)
    ).sum(axis=1)
    assert np.abs(mean).max() < 1e-10, "advantages are 0 on average at every prefix"


def test_a_language_model_is_a_policy_given_the_mask():
    task = textgym.micro("bigram", vocab_size=4, horizon=4)
    solution = solve(task, beta=1.0, reference="bigram")
    for model in (task.world.language, task.context.language_model("ngram:2"), task.context.language_model("unigram")):
        found = solution.evaluate(language_model(model))
        assert found.regret > 0
        assert (found.kl < 1e-12) == (model is task.world.language)


def test_what_the_reference_forbids_has_no_finite_kl():
    task = textgym.micro("bigram", vocab_size=3, horizon=3)
    greedy = solve(task).optimal_policy
    solution = solve(task, beta=1.0, reference=greedy)
    assert solution.soft_value == pytest.approx(solve(task).value) and solution.kl == 0
    assert solution.evaluate(uniform).kl == math.inf


def test_the_credit_of_the_key_token_world_is_the_exact_advantage():
    task = textgym.micro("key-token", vocab_size=3, horizon=5, seed=3)
    scorer = textgym.scorers.parse(task.reward)
    solution = solve(task)
    advantages = solution.policy_values(uniform).advantages
    tree = solution.tree
    texts = list(texts_of(textgym.TextGenEnv(task=task)))
    rows = [np.array(text, np.int32) for text in texts]
    credit = scorer.credit(textgym.TextBatch([rows[0][:0]] * len(rows), rows, task.tokenizer))
    for text, row in zip(texts, credit, strict=True):
        due = [advantages[tree.place(text[:i]), text[i]] for i in range(len(text))]
        assert np.allclose(row[: len(text)], due, rtol=0, atol=1e-12) and not row[len(text) :].any()
        assert row.sum() + solution.uniform_value == pytest.approx(tree.totals[tree.place(text[:-1]), text[-1]])


def test_the_proxys_best_policy_is_the_worst_under_gold():
    task = textgym.micro("gold-proxy")
    proxy, gold = solve(task), solve(task, reward=task.gold["quality"])
    found = gold.evaluate(proxy.optimal_policy)
    assert proxy.optimal_text == "a" * 6 and len(proxy.optimal_actions()) == 1
    assert found.value == 1 - 5 == np.nanmin(gold.tree.totals)
    assert found.regret > 2, "worse than the uniform policy, which has 1"
    assert gold.value == 3


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (lambda p: np.zeros((len(p), 3)), r"shape \(15, 3\) for 15 prefixes: \(15, 5\) is due"),
        (lambda p: np.zeros(p.masks.shape), "sum to 5 after ''.*natural log-probabilities"),
        (lambda p: np.full(p.masks.shape, np.nan), "sum to nan"),
        (lambda p: np.full(p.masks.shape, -math.log(5)), "puts 0.4 on tokens that the mask forbids"),
        (tabular({(): [0, 0, 0, 1, 0]}), "the table says nothing of 'a', ids"),
    ],
)
def test_what_is_no_policy_is_an_error(policy, message):
    solution = solve(textgym.micro("bigram", vocab_size=3, horizon=4))
    with pytest.raises(TaskError, match=message):
        solution.evaluate(policy)


def test_a_policy_that_never_plays_by_the_mask_cannot_be_conditioned_on_it():
    with pytest.raises(TaskError, match="no probability to any action that is allowed, in row 1"):
        conditioned(np.array([[0.0, -np.inf], [-np.inf, 0.0]]), np.array([[True, False], [True, False]]))


def test_where_all_policies_are_worth_the_same_there_is_nothing_to_regret():
    solution = solve(textgym.micro("bigram", vocab_size=3, horizon=3), reward="0*length + 1")
    assert solution.value == solution.uniform_value == 1
    with pytest.raises(TaskError, match="uniform policy is as good as the best, 1: there is nothing to regret"):
        solution.regret(uniform)


def test_a_policy_sees_prompts_completions_and_masks():
    seen = []

    def policy(prefixes):
        seen.append([tuple(row.tolist()) for row in prefixes.completions])
        assert all(len(prompt) == 0 for prompt in prefixes.prompts) and len(prefixes) == 15
        prefixes.tokens[:] = 0  # its own copy
        return uniform(prefixes)

    solution = solve(textgym.micro("bigram", vocab_size=3, horizon=4))
    assert solution.regret(policy) == solution.regret(policy) == 1.0
    assert seen[0] == prefixes_of(texts_of(micro_env())) and seen[0] == seen[1]
