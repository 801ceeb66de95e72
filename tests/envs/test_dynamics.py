import numpy as np
from envs_samples import ends_in_double
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym.envs.dynamics import LENGTH, LIVE, RULE, STOP, Rules, begin, step, step_row

RULES = Rules(vocab_size=6, eos_id=2, sep_id=1, budget=3, observation_length=6)
DOUBLES = Rules(vocab_size=6, eos_id=2, sep_id=1, budget=3, observation_length=6, stop_rule=ends_in_double)


def test_an_episode_begins_with_prompt_separator_and_padding():
    assert begin(RULES, np.array([5, 4], np.int32)).tolist() == [5, 4, 1, -1, -1, -1]


def test_three_rows_worked_out_by_hand():
    tokens = np.array([[5, 1, -1, -1, -1, -1], [5, 4, 1, 3, -1, -1], [5, 4, 1, 3, 3, -1]], np.int32)
    lengths, starts = np.array([2, 4, 5]), np.array([2, 3, 3])
    after, longer, reason = step(RULES, tokens, lengths, starts, np.array([4, 2, 5]))
    assert after.tolist() == [[5, 1, 4, -1, -1, -1], [5, 4, 1, 3, 2, -1], [5, 4, 1, 3, 3, 5]]
    assert longer.tolist() == [3, 5, 6]
    assert reason.tolist() == [LIVE, STOP, LENGTH]
    assert (after.dtype, longer.dtype, reason.dtype) == (np.int32, np.int64, np.int8)


def test_eos_goes_before_the_rule_and_the_rule_before_the_budget():
    tokens = np.array([[5, 1, 4, 4, -1, -1]] * 3, np.int32)
    lengths, starts = np.array([4, 4, 4]), np.array([2, 2, 2])
    *_, reason = step(DOUBLES, tokens, lengths, starts, np.array([2, 4, 3]))
    assert reason.tolist() == [STOP, RULE, LENGTH]
    twice_eos = np.array([[5, 1, 2, -1, -1, -1]], np.int32)
    assert step(DOUBLES, twice_eos, np.array([3]), np.array([2]), np.array([2]))[2].tolist() == [STOP]


@st.composite
def live_rows(draw):
    rules = draw(st.sampled_from([RULES, DOUBLES]))
    rows = []
    for _ in range(draw(st.integers(1, 5))):
        prompt = draw(st.lists(st.sampled_from([0, 3, 4, 5]), max_size=2))
        written = draw(st.lists(st.integers(0, 5), max_size=rules.budget - 1))
        rows.append((prompt, written, draw(st.integers(0, 5))))
    tokens = np.full((len(rows), rules.observation_length), -1, np.int32)
    for row, (prompt, written, _) in zip(tokens, rows, strict=True):
        prefix = [*prompt, rules.sep_id, *written]
        row[: len(prefix)] = prefix
    starts = np.array([len(prompt) + 1 for prompt, *_ in rows])
    lengths = starts + [len(written) for _, written, _ in rows]
    return rules, tokens, lengths, starts, np.array([action for *_, action in rows])


@given(live_rows())
@settings(max_examples=100, deadline=None)
def test_one_row_in_integers_equals_its_row_in_the_batch(case):
    rules, tokens, lengths, starts, actions = case
    after, longer, reason = step(rules, tokens, lengths, starts, actions)
    for i in range(len(tokens)):
        row, length, why = step_row(rules, tokens[i], int(lengths[i]), int(starts[i]), int(actions[i]))
        assert np.array_equal(row, after[i])
        assert (length, why) == (longer[i], reason[i])


@given(live_rows())
@settings(max_examples=50, deadline=None)
def test_a_step_writes_one_token_behind_the_prefix_and_leaves_its_arguments_alone(case):
    rules, tokens, lengths, starts, actions = case
    before = tokens.copy(), lengths.copy(), starts.copy(), actions.copy()
    after, longer, _ = step(rules, tokens, lengths, starts, actions)
    for old, new in zip(before, (tokens, lengths, starts, actions), strict=True):
        assert np.array_equal(old, new)
    assert not np.shares_memory(after, tokens)
    assert np.array_equal((after >= 0).sum(axis=1), longer)
    assert np.array_equal(after[np.arange(len(after)), lengths], actions)
    assert (after != tokens).sum() == len(tokens)


def test_the_order_of_rows_does_not_matter():
    tokens = np.array([[5, 1, 3, -1, -1, -1], [4, 4, 1, -1, -1, -1], [1, 3, 3, -1, -1, -1]], np.int32)
    lengths, starts, actions = np.array([3, 3, 3]), np.array([2, 3, 1]), np.array([3, 2, 5])
    one = step(DOUBLES, tokens, lengths, starts, actions)
    order = np.array([2, 0, 1])
    other = step(DOUBLES, tokens[order], lengths[order], starts[order], actions[order])
    for a, b in zip(one, other, strict=True):
        assert np.array_equal(a[order], b)
