"""Values and policies, beside plain enumeration of all texts in the environment."""

import dataclasses
import json
import math

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_reference import (
    actions_after,
    best_return,
    bigram,
    chances_of,
    discounted,
    micro_env,
    play,
    prefixes_of,
    texts_of,
    uniform,
)

import textgym
from textgym.errors import TaskError, UnknownNameError
from textgym.oracle import solve
from textgym.worlds.micro import WORLDS

DELIVERIES = ("terminal", "per_token", "shaped")
worlds = pytest.mark.parametrize("world", WORLDS)


@worlds
@pytest.mark.parametrize(("delivery", "gamma"), [("terminal", 1.0), ("per_token", 0.8), ("shaped", 0.8)])
def test_values_are_those_of_every_text_played_in_the_environment(world, delivery, gamma):
    env = micro_env(world, delivery=delivery, gamma=gamma)
    texts = texts_of(env)
    solution = solve(env)
    assert solution.gamma == gamma
    assert (solution.states, solution.texts) == (len(prefixes_of(texts)), len(texts)) == (15, 31)
    assert solution.value == pytest.approx(best_return(texts, gamma), abs=1e-12)
    chances = chances_of(texts, uniform)
    expected = sum(chances[text] * discounted(rewards, gamma) for text, rewards in texts.items())
    assert solution.uniform_value == pytest.approx(expected, abs=1e-12)
    assert discounted(texts[solution.optimal_completion], gamma) == pytest.approx(solution.value, abs=1e-12)


@worlds
def test_v_and_q_at_every_prefix_are_the_best_that_can_still_be_earned(world):
    env = micro_env(world, delivery="per_token", gamma=0.9)
    texts, solution = texts_of(env), solve(env)
    for prefix in prefixes_of(texts):
        q = solution.action_values(prefix)
        actions = actions_after(texts, prefix)
        assert np.flatnonzero(q > -np.inf).tolist() == actions
        for action in actions:
            onward = [r[len(prefix) :] for text, r in texts.items() if text[: len(prefix) + 1] == (*prefix, action)]
            assert q[action] == pytest.approx(max(discounted(rewards, 0.9) for rewards in onward), abs=1e-12)
        assert solution.prefix_value(prefix) == q.max()
        ties = [action for action in actions if q[action] > q.max() - 1e-9]
        assert solution.optimal_actions(prefix) == tuple(ties)


@worlds
@pytest.mark.parametrize(("reference", "beta"), [("uniform", 0.1), ("bigram", 1.0), ("bigram", 7.0)])
def test_the_soft_solution_is_the_tilted_distribution_over_all_texts(world, reference, beta):
    """V = beta log E_ref exp(R / beta), p*(text) = p_ref(text) exp((R - V) / beta), KL = (E R - V) / beta."""
    env = micro_env(world)
    texts = texts_of(env)
    chances = chances_of(texts, uniform if reference == "uniform" else bigram(env.task))
    returns = {text: sum(rewards) for text, rewards in texts.items()}
    value = beta * math.log(sum(chances[text] * math.exp(returns[text] / beta) for text in texts))
    tilted = {text: chances[text] * math.exp((returns[text] - value) / beta) for text in texts}
    solution = solve(env, beta=beta, reference=reference)
    assert sum(tilted.values()) == pytest.approx(1)
    assert abs(solution.soft_value - value) < 1e-10
    assert abs(solution.expected_reward - sum(tilted[text] * returns[text] for text in texts)) < 1e-10
    assert abs(solution.kl - sum(tilted[t] * math.log(tilted[t] / chances[t]) for t in texts)) < 1e-10
    assert abs(solution.kl - (solution.expected_reward - solution.soft_value) / beta) < 1e-10
    table = {prefix: solution.soft.logprobs[solution.tree.place(prefix)] for prefix in prefixes_of(texts)}
    for text in texts:
        log = sum(table[text[:i]][text[i]] for i in range(len(text)))
        assert abs(math.exp(log) - tilted[text]) < 1e-10


@worlds
@pytest.mark.parametrize("settings", [{}, {"delivery": "shaped", "gamma": 0.7}, {"beta": 0.4, "reference": "bigram"}])
def test_value_iteration_and_backward_induction_reach_the_same_values(world, settings):
    task = textgym.micro(world, vocab_size=4, horizon=5)
    one, other = (solve(task, method=method, **settings) for method in ("backward", "iteration"))
    assert np.array_equal(one.values.v, other.values.v) and np.array_equal(one.values.q, other.values.q)
    if one.soft is not None:
        assert np.allclose(one.soft.values.v, other.soft.values.v, rtol=0, atol=1e-13)
        assert one.soft_value == other.soft_value


@settings(max_examples=30, deadline=None)
@given(
    world=st.sampled_from(WORLDS),
    delivery=st.sampled_from(DELIVERIES),
    gamma=st.sampled_from([1.0, 0.9, 0.5]),
    reward=st.sampled_from([None, "length - 2*distinct(n=1)", "fluency(lm='bigram') + 0.3", "default(regex('ab'), 0)"]),
    actions=st.lists(st.integers(2, 5), min_size=1, max_size=5),
)
def test_the_oracles_rewards_are_what_the_environment_pays(world, delivery, gamma, reward, actions):
    env = micro_env(world, 4, 5, delivery=delivery, gamma=gamma, reward=reward)
    tree = solve(env).tree
    text = actions[: actions.index(2) + 1] if 2 in actions else actions
    paid, over = play(env, text)
    places = [tree.place(text[:length]) for length in range(len(text))]
    owed = [tree.rewards[place, action] for place, action in zip(places, text, strict=True)]
    assert np.allclose(paid, owed, rtol=0, atol=1e-12)
    assert over == (tree.children[places[-1], text[-1]] < 0)
    if over and gamma == 1:
        assert sum(paid) == pytest.approx(tree.totals[places[-1], text[-1]], abs=1e-12)


@worlds
def test_the_greedy_policy_played_in_gym_make_earns_v(world):
    delivery = DELIVERIES[WORLDS.index(world) % 3]
    env = gym.make("TextGenMicro-v0", world=world, delivery=delivery)
    solution = solve(env)
    env.reset()
    total, written, over = 0.0, (), False
    while not over:
        action = solution.optimal_actions(written)[-1]  # another tie than the policy takes
        _, reward, over, _, _ = env.step(action)
        written, total = (*written, action), total + reward
    assert total == pytest.approx(solution.value, abs=1e-12)
    assert total > env.spec.reward_threshold


@worlds
def test_at_gamma_one_every_delivery_has_the_same_values_and_policies(world):
    task = textgym.micro(world, vocab_size=4, horizon=5)
    terminal, *others = (solve(task, delivery=delivery, beta=0.5) for delivery in DELIVERIES)
    for other in others:
        assert other.value == pytest.approx(terminal.value, abs=1e-12)
        assert other.uniform_value == pytest.approx(terminal.uniform_value, abs=1e-12)
        assert np.array_equal(other.ties, terminal.ties)
        assert np.allclose(np.exp(other.soft.logprobs), np.exp(terminal.soft.logprobs), rtol=0, atol=1e-12)


@worlds
def test_the_threshold_of_the_environment_is_the_oracles(world):
    for vocab_size, horizon in ((3, 5), (8, 6)):
        env = gym.make("TextGenMicro-v0", world=world, vocab_size=vocab_size, horizon=horizon)
        solution = solve(env)
        due = solution.uniform_value + 0.99 * (solution.value - solution.uniform_value)
        assert env.spec.reward_threshold == pytest.approx(due, abs=1e-10)


# -- merged states


@worlds
@pytest.mark.parametrize(
    ("gamma", "delivery", "reference"),
    [(1.0, "terminal", "bigram"), (1.0, "shaped", "uniform"), (0.6, "per_token", "bigram")],
)
def test_the_states_of_the_machine_have_the_values_of_the_prefixes(world, gamma, delivery, reference):
    task = textgym.micro(world, vocab_size=5, horizon=5)
    given = {"gamma": gamma, "beta": 0.3, "reference": reference, "delivery": delivery}
    whole, merged = solve(task, **given), solve(task, **given, merge=True)
    assert merged.states < whole.states
    for name in ("value", "uniform_value", "soft_value", "kl", "expected_reward"):
        assert getattr(merged, name) == pytest.approx(getattr(whole, name), abs=1e-10), name
    assert merged.optimal_completion == whole.optimal_completion
    if delivery == "per_token":  # elsewhere V is what is left to be earned, or not, by the delivery
        for prefix in ((), (3,), (4, 3), (6, 6, 3, 4)):
            assert np.allclose(merged.action_values(prefix), whole.action_values(prefix), rtol=0, atol=1e-12)


@worlds
def test_the_largest_worlds_are_solved_by_states(world):
    task = textgym.micro(world, vocab_size=20, horizon=12)
    solution = solve(task, merge=True)
    assert (solution.value, solution.uniform_value) == pytest.approx(task.world.optimum, abs=1e-10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reward": "length"}, "needs a reward that is a machine.*'length' is none"),
        ({"gamma": 0.9}, "merge=True at gamma=0.9: in terminal delivery"),
        ({"beta": 1.0, "reference": "ngram:2"}, "'uniform' or 'bigram'"),
    ],
)
def test_what_cannot_be_merged_is_an_error(settings, message):
    with pytest.raises(TaskError, match=message):
        solve(textgym.micro(), merge=True, **settings)


def test_merged_states_know_no_policy_of_prefixes_and_no_law_of_texts():
    merged = solve(textgym.micro(), merge=True)
    for asked in (lambda: merged.regret(merged.optimal_policy), lambda: merged.best_of_n(4)):
        with pytest.raises(TaskError, match="merge=False"):
            asked()


# -- masks, stop rules, prompts


def test_only_what_the_mask_allows_is_enumerated():
    env = micro_env("bigram", 4, 4, constraint={"min_new_tokens": 2, "no_repeat_ngram": 2, "banned": ["c"]})
    texts, solution = texts_of(env), solve(env)
    assert solution.texts == len(texts) and solution.states == len(prefixes_of(texts))
    assert solution.value == pytest.approx(best_return(texts, 1.0), abs=1e-12)
    assert all("c" not in env.task.tokenizer.decode(text) and len(text) > 2 for text in texts)


def test_a_stop_rule_ends_texts():
    def after_a(tokens, lengths, starts):
        return tokens[np.arange(len(tokens)), lengths - 1] == 3

    task = dataclasses.replace(textgym.micro("bigram", vocab_size=3, horizon=4), stop_rule=after_a)
    texts, solution = texts_of(textgym.TextGenEnv(task=task)), solve(task)
    assert solution.texts == len(texts) == 9
    assert solution.value == pytest.approx(best_return(texts, 1.0), abs=1e-12)


@pytest.fixture
def sums(tmp_path):
    """Two prompts, as far as an agent sees; of the first, a third of the episodes has another answer."""
    rows = [
        {"prompt": "1+1=?", "references": ["2"], "split": "train"},
        {"prompt": "1+2=?", "references": ["3"], "split": "train"},
        {"prompt": "1+1=!", "references": ["11"], "split": "train"},
        {"prompt": "1+1=.", "references": ["2"], "split": "train"},
        {"prompt": "2+1=?", "references": ["3"], "split": "heldout"},
    ]
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return textgym.make_task(
        prompts=path,
        tokenizer="char",
        max_new_tokens=3,
        max_prompt_tokens=4,
        on_long_prompt="truncate",
        cache_dir=tmp_path / "cache",
    )


def test_values_are_means_over_the_prompts_and_over_what_a_prompt_hides(sums):
    solution = solve(sums, reward="exact_match", beta=0.1)
    assert len(solution.tree.openings) == 2
    assert solution.value == pytest.approx(3 / 4 * 2 / 3 + 1 / 4)
    assert solution.prefix_value(prompt="1+1=") == pytest.approx(2 / 3)
    assert solution.prefix_value("1", prompt="1+1=") == pytest.approx(1 / 3)
    assert solution.prefix_value("1", "1+2=") == 0
    two, eos = int(sums.tokenizer.encode("2")[0]), sums.tokenizer.eos_id
    assert solution.optimal_completion[:2] == (two, eos)
    played = textgym.TextGenEnv(task=sums, reward="exact_match")
    returns = []
    for index in range(4):
        played.reset(options={"prompt_index": index})
        played.step(two)
        returns.append(played.step(eos)[1])
    assert np.mean(returns) * 4 == 2
    first = solution.tree.place([two], 0)
    assert solution.tree.totals[first, eos] == pytest.approx(2 / 3)
    law = solution.best_of_n(2)
    assert law.base @ law.rewards == pytest.approx(solution.uniform_value)
    assert law.probabilities.sum() == pytest.approx(1)


def test_a_prompt_of_another_task_is_an_error(sums):
    with pytest.raises(TaskError, match="begins with no prompt of this task"):
        solve(sums, reward="length").prefix_value(prompt="2+2=")


# -- what is given


def test_a_task_and_its_environments_are_the_same_to_the_oracle():
    task = textgym.micro("random", vocab_size=4, horizon=4)
    given = {"world": "random", "vocab_size": 4, "horizon": 4}
    values = {
        solve(task).value,
        solve(gym.make("TextGenMicro-v0", **given)).value,
        solve(gym.make_vec("TextGenMicro-v0", num_envs=2, **given)).value,
        solve(gym.make("TextGenMicro-v0", **given).unwrapped.episodes).value,
        solve(gym.make("TextGen-v0", task=task)).value,
    }
    assert len(values) == 1
    assert solve(gym.make("TextGenMicro-v0", **given), reward="length").value == 4
    assert solve(task, reward="micro_proxy").value == 4
    discounted_env = micro_env(delivery="shaped", gamma=0.5)
    assert solve(discounted_env).gamma == 0.5 and solve(discounted_env, 1.0).gamma == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 0.0}, "gamma=0"),
        ({"gamma": 1.5}, "gamma=1.5"),
        ({"beta": 0.0}, "beta=0.0: the price of a nat"),
        ({"beta": math.inf}, "beta=inf"),
        ({"method": "forward"}, "method='forward'"),
        ({"delivery": "never"}, "delivery='never'"),
    ],
)
def test_a_setting_out_of_range_is_an_error(settings, message):
    with pytest.raises(TaskError, match=message):
        solve(textgym.micro(), **settings)


def test_an_unknown_reference_is_an_error_that_names_those_there_are():
    with pytest.raises(UnknownNameError, match=r"unknown reference 'bigrams'\. Did you mean 'bigram'"):
        solve(textgym.micro(), beta=1.0, reference="bigrams")
    with pytest.raises(UnknownNameError, match=r"Known: bigram, ngram:1, .*uniform"):
        solve(textgym.micro(), beta=1.0, reference="?")


def test_what_is_no_task_is_an_error():
    with pytest.raises(TaskError, match="no task and no environment of TextGym"):
        solve("bigram")
    with pytest.raises(TaskError, match="no task and no environment of TextGym"):
        solve(gym.make("CartPole-v1"))


def test_above_the_limit_the_count_comes_before_the_enumeration(monkeypatch):
    from textgym.envs import dynamics

    def never(*_):
        raise AssertionError("enumerated")

    monkeypatch.setattr(dynamics, "step", never)
    with pytest.raises(TaskError) as error:
        solve(textgym.micro("bigram", vocab_size=20, horizon=12))
    states = sum(19**length for length in range(12))
    said = str(error.value)
    assert f"{states:,} states and {states * 20 - states + 1:,} texts" in said
    assert "vocab_size" in said and "horizon" in said and "merge=True" in said
    with pytest.raises(TaskError, match=r"15 states and 31 texts \(3 actions, horizon 4\), more than limit=45"):
        solve(textgym.micro("bigram", vocab_size=3, horizon=4), limit=45)
    with pytest.raises(TaskError, match="has at most "):
        solve(micro_env("bigram", 20, 12, constraint={"banned": ["b"]}))


def test_a_task_of_ordinary_size_is_refused_with_a_number_that_can_be_read(sums):
    with pytest.raises(TaskError, match=r"has 1\.79e\+57 states and 1\.43e\+58 texts \(2 prompts, 9 actions, h"):
        solve(dataclasses.replace(sums, max_new_tokens=64), reward="length")


def test_at_the_limit_the_count_is_exact():
    assert solve(textgym.micro("bigram", vocab_size=3, horizon=4), limit=46).states == 15


def test_a_prefix_that_is_no_unfinished_text_is_an_error():
    solution = solve(textgym.micro("bigram", vocab_size=3, horizon=4))
    for wrong in ((2,), (3, 2), (3, 3, 3, 3), (0,), (3, 1)):
        with pytest.raises(TaskError, match="no unfinished text of this task"):
            solution.prefix_value(wrong)
    with pytest.raises(TaskError, match="no soft solution"):
        _ = solution.soft_policy
    assert solution.prefix_value("ab") == solution.prefix_value((3, 4))
