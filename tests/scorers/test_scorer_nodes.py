"""Gate, penalty, product, ensemble, lexicographic and rank: what each is worth, by hand, and what each refuses."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scorer_fakes import FakeContext

from textgym import scorers as s
from textgym.errors import ScorerError
from textgym.scorers import bind_reward
from textgym.scorers.plain import batch_of_texts
from textgym.types import Scores

TEXTS = ["", "a", "a b", "a b c", "a b c d"]  # of length 0 to 4


def values(text, texts=TEXTS, references=None):
    return s.parse(text).score_texts(texts, references=references).tolist()


# -- gate


def test_a_gate_is_open_between_its_bounds_and_closed_at_them():
    assert values("gate(length, 10*length, above=1)") == [0, 0, 20, 30, 40]
    assert values("gate(length, 10*length, below=3)") == [0, 10, 20, 0, 0]
    assert values("gate(length, 10*length, above=1, below=4, otherwise=-7)") == [-7, -7, 20, 30, -7]


def test_a_closed_gate_gives_the_lowest_value_so_that_failing_never_pays():
    assert values("gate(length, clip(length, 2, 3) - 5, above=3)") == [-3, -3, -3, -3, -2]
    assert s.parse("gate(length, distinct - 2, above=3)").range == (-2, -1)
    assert s.parse("gate(length, distinct, above=3, otherwise=-4)").range == (-4, 1)
    assert s.parse("gate(length, fluency, above=3, otherwise=1)").range == (-np.inf, 1)


def test_a_closed_gate_does_not_ask_what_is_behind_it():
    texts, references = ["a", "a", "a b", "a b"], [["a"], [], ["a b"], []]
    assert np.isnan(values("gate(length, exact_match, above=1)", texts, references)).tolist() == [0, 0, 0, 1]
    assert np.isnan(values("gate(exact_match, length, above=0)", texts, references)).tolist() == [0, 1, 0, 1]


# -- penalty


def test_a_penalty_is_the_distance_to_the_nearer_bound():
    assert values("penalty(length, above=2)") == [0, 0, 0, -1, -2]
    assert values("penalty(length, below=2, weight=0.5)") == [-1, -0.5, 0, 0, 0]
    assert values("penalty(length, above=3, below=1)") == [-1, 0, 0, 0, -1]
    assert values("penalty(length, above=2, below=2)") == [-2, -1, 0, -1, -2]


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("penalty(length, above=2)", (-np.inf, 0)),
        ("penalty(fluency, below=-2)", (-np.inf, 0)),
        ("penalty(distinct, above=0.25, weight=2)", (-1.5, 0)),
        ("penalty(distinct, above=0.25, below=0.125)", (-0.75, 0)),
        ("penalty(distinct, above=-1)", (-2, -1)),
        ("penalty(distinct, below=3)", (-3, -2)),
    ],
)
def test_the_range_of_a_penalty_is_exact(text, ends):
    assert s.parse(text).range == ends


# -- product


def test_a_product_is_the_tree_of_its_operators_from_the_left():
    a, b, c = s.length(), s.distinct(), s.repetition()
    assert s.product(a, b) == a * b and s.product(a, b, c) == (a * b) * c != a * (b * c)
    assert s.parse("product(length, distinct, 2)") == s.parse("length*distinct*2") == s.product(a, b, 2)
    assert str(s.parse("1 - product(length - 1, product(distinct, repetition))")) == (
        "1 - (length - 1)*(distinct*repetition)"
    )


def test_the_range_of_a_product_takes_no_longer_the_deeper_it_is():
    deep = s.distinct()
    for _ in range(45):
        deep = s.distinct() * deep
    assert deep.range == (0, 1)


# -- ensemble


def test_an_ensemble_is_the_mean_the_minimum_or_the_median():
    parts = "length, 3 - length, 10"
    assert values(f"ensemble({parts})") == [13 / 3] * 5
    assert values(f"ensemble({parts}, how='min')") == [0, 1, 1, 0, -1]
    assert values(f"ensemble({parts}, how='median')") == [3, 2, 2, 3, 4]
    assert values(f"ensemble({parts}, 20, how='median')") == [6.5, 6, 6, 6.5, 7]


def test_the_tokens_of_a_mean_sum_to_it_and_other_ensembles_have_none():
    batch = batch_of_texts(TEXTS)
    tokens = s.parse("ensemble(length, distinct, repetition(n=1))").score(batch).tokens
    np.testing.assert_allclose(tokens.sum(axis=1), values("ensemble(length, distinct, repetition(n=1))"))
    for text in ("ensemble(length, distinct, how='min')", "ensemble(length, 1)", "gate(length, distinct, above=1)"):
        assert s.parse(text).score(batch).tokens is None


def test_the_range_of_an_ensemble_is_the_ensemble_of_its_ends():
    assert s.parse("ensemble(distinct, 3*distinct - 2)").range == (-1, 1)
    assert s.parse("ensemble(length, distinct, how='min')").range == (0, 1)
    assert s.parse("ensemble(length, 4 + distinct, -length, how='median')").range == (0, 5)


def test_a_mean_of_many_does_not_depend_on_the_batch():
    """numpy adds a column of nine in another order than nine columns."""
    mean = s.ensemble(*(s.length() * (1 / n) for n in range(3, 60)))
    batch = batch_of_texts([" ".join("ab" * n) for n in range(1, 12)])
    whole = mean.score(batch).values
    assert [mean.score(batch.row(i)).values[0] for i in range(len(batch))] == whole.tolist()


# -- lexicographic


def test_lexicographic_puts_the_first_before_the_second():
    text = "lexicographic(clip(length, 0, 2), 1 - clip(length, 0, 4)*0.25, steps=4)"
    levels = [(0, 4), (2, 3), (4, 2), (4, 1), (4, 0)]
    assert values(text) == [(a * 5 + b) / 24 for a, b in levels]


PARTS = (s.distinct(), 8 * s.distinct() - 3, -1e6 * s.distinct())
ENDS = ((0, 1), (-3, 5), (-1e6, 0))
rows = st.tuples(*(st.sampled_from([low, (low + high) / 2, high]) | st.floats(low, high) for low, high in ENDS))


def order(steps, *of):
    scorer = s.lexicographic(*PARTS, steps=steps)
    return scorer.combine(
        [Scores(np.array(column, float)) for column in zip(*of, strict=True)], len(of)
    ).values.tolist()


@given(rows, rows, st.integers(1, 20_000))
@settings(max_examples=150, deadline=None)
def test_the_order_is_that_of_the_levels_as_tuples(one, other, steps):
    def levels(row):
        return tuple(int((x - low) / (high - low) * steps + 0.5) for x, (low, high) in zip(row, ENDS, strict=True))

    first, second = order(steps, one, other)
    assert 0 <= first <= 1
    assert (first > second) == (levels(one) > levels(other)) and (first == second) == (levels(one) == levels(other))


@given(rows, rows, st.integers(1, 20_000))
@settings(max_examples=150, deadline=None)
def test_a_step_of_an_earlier_part_outweighs_all_later_ones(one, other, steps):
    first, second = order(steps, one, other)
    for x, y, (low, high) in zip(one, other, ENDS, strict=True):
        if abs(x - y) > (high - low) / steps * (1 + 1e-9):
            assert first != second and (first > second) == (x > y)
        if x != y:
            break


@given(rows, rows, st.integers(1, 20_000))
@settings(max_examples=100, deadline=None)
def test_the_best_of_two_in_every_part_is_no_worse_than_either(one, other, steps):
    best = tuple(map(max, one, other))
    assert order(steps, best)[0] >= max(order(steps, one, other))


@pytest.mark.parametrize(("parts", "most"), [(2, 67108863), (4, 8191), (13, 15)])
def test_levels_stay_distinct_up_to_the_most_that_are_allowed(parts, most):
    leaves = [s.distinct(n=n) for n in range(1, parts + 1)]
    scorer = s.lexicographic(*leaves, steps=most)
    last_two = np.array([[most / most] * parts, [1] * (parts - 1) + [(most - 1) / most], [1] * (parts - 2) + [0.5, 1]])
    found = scorer.combine([Scores(column) for column in last_two.T], 3).values
    assert all(better > worse for better, worse in pairwise(found)) and found[0] == 1
    with pytest.raises(ScorerError, match=f"at most {most} steps"):
        s.lexicographic(*leaves, steps=most + 1)


# -- rank


def test_a_rank_is_the_share_of_the_others_that_are_beaten_with_ties_half():
    assert values("rank(length)") == [0, 0.25, 0.5, 0.75, 1]
    assert values("rank(-clip(length, 1, 3))") == [0.875, 0.875, 0.5, 0.125, 0.125]
    assert values("rank(1)") == [0.5] * 5 and values("rank(length)", ["a"]) == [0.5]
    assert values("rank(length)", []) == []


def test_texts_to_which_a_scorer_is_not_applicable_have_no_rank_and_count_for_none():
    ranks = values("rank(exact_match)", ["a", "b", "c"], [["a"], [], ["a"]])
    assert ranks[::2] == [1, 0] and np.isnan(ranks[1])


def test_a_rank_is_no_reward_of_an_episode_however_deep_it_stands():
    for text in (
        "rank(fluency)",
        "fluency + 0.5*default(rank(repetition), 0)",
        "gate(rank(length), length, above=0.5)",
    ):
        assert s.parse(text).set_level and not s.parse(text).causal
        with pytest.raises(ScorerError, match=r"rank\(\w+\) is a measure of a set of texts"):
            bind_reward(text, FakeContext())
        s.parse(text).bind(FakeContext())


# -- all of them


NODES = [
    "gate(length, repetition, above=5)",
    "gate(length, repetition, above=5, below=9, otherwise=-1)",
    "penalty(length, above=5, weight=2)",
    "ensemble(repetition, distinct, 2)",
    "ensemble(repetition, distinct, how='min')",
    "lexicographic(repetition, -distinct, steps=10)",
    "rank(repetition - distinct)",
]


@pytest.mark.parametrize("text", NODES)
def test_a_node_is_read_written_pickled_and_hashed(text):
    scorer = s.parse(text)
    assert str(scorer) == text == scorer.to_spec()
    assert pickle.loads(pickle.dumps(scorer)) == scorer and hash(scorer) == hash(s.parse(text))
    assert len(scorer.hash) == 16 and int(scorer.hash, 16) >= 0
    assert len({s.parse(other).hash for other in NODES}) == len(NODES)


def test_a_hash_is_that_of_the_signature_and_stays():
    assert s.length().signature == "length.v1(target=none, min=none, max=none)"
    assert s.parse("length").hash == s.parse("(length())").hash == "2b20eb02b9949dfd"
    assert s.parse("product(length, distinct)").hash == (s.length() * s.distinct()).hash != s.length().hash


def test_a_signature_holds_the_parts_and_what_is_at_its_default():
    assert s.parse("ensemble(repetition, 2)").signature == "ensemble.v1(of=(repetition.v1(n=4), 2), how='mean')"
    assert s.parse("rank(-repetition)").signature == "rank.v1(of=-repetition.v1(n=4))"


def test_units_are_those_of_the_parts_where_there_is_one():
    units = {
        "clip(length, 0, 1)": "tokens",
        "default(fluency, 0)": "nats per token",
        "clip(standard(length), 0)": "sd",
        "gate(distinct, length, above=0.5)": "tokens",
        "penalty(length, above=3)": "tokens",
        "penalty(length, above=3, weight=2)": "",
        "ensemble(length, clip(length, 0, 9))": "tokens",
        "ensemble(length, distinct)": "",
        "rank(length)": "",
    }
    assert {text: s.parse(text).unit for text in units} == units


def test_a_function_without_a_name_inside_a_node_does_not_serialise():
    nameless = s.resolve(lambda text: 1.0)
    with pytest.raises(ScorerError, match=r"@textgym\.scorers\.register"):
        s.ensemble(nameless, s.length()).to_spec()


def test_a_mapping_lists_the_parts():
    spec = {"scorer": "ensemble", "of": ["length", {"scorer": "distinct", "n": 1}, 3], "how": "min"}
    assert s.resolve(spec) == s.ensemble(s.length(), s.distinct(n=1), 3, how="min")
    assert s.resolve({"scorer": "product", "of": [2, "length"]}) == 2 * s.length()
    with pytest.raises(ScorerError, match="of takes scorers, not 'length'"):
        s.resolve({"scorer": "ensemble", "of": "length"})
    with pytest.raises(ScorerError, match="lacks 'of'"):
        s.resolve({"scorer": "rank"})
