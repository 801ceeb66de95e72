"""Laws of every expression that Hypothesis can build: its text, its signature, its values, its range, its batches."""

import statistics

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scorer_expressions import TEXT_LEAVES, build, expressions, leaves, nodes, text_expressions, uncached

from textgym import scorers as s
from textgym.scorers.algebra import Constant, Difference, Negative, Product, Sum
from textgym.scorers.around import Around
from textgym.scorers.bound import walk
from textgym.scorers.plain import batch_of_texts

TEXTS = ["a a a a", "a b", "", "the cat. the cat sat. the cat", "a b c a b", "c"]
REFERENCES = [["a a a a"], ["b"], [], ["the cat"], [], ["c"]]
BATCH = batch_of_texts(TEXTS, references=REFERENCES)


@given(expressions)
@settings(max_examples=200, deadline=None)
def test_every_expression_is_read_back_from_its_text(drawn):
    expression = build(drawn)
    again = s.parse(str(expression))
    assert again == expression
    assert str(again) == str(expression)
    assert again.signature == expression.signature and again.hash == expression.hash


few = st.recursive(leaves, lambda parts: nodes(parts, st.integers(-1, 1)), max_leaves=2)


@given(few, few)
@settings(max_examples=300, deadline=None)
def test_signatures_and_hashes_are_equal_iff_expressions_are(one, other):
    one, other = build(uncached(one)), build(uncached(other))
    assert (one == other) == (one.signature == other.signature) == (one.hash == other.hash)
    assert (one == other) == (str(one) == str(other))


@given(expressions)
@settings(max_examples=40, deadline=None)
def test_a_cache_changes_neither_what_an_expression_is_nor_what_it_can_be(drawn):
    cached, plain = build(drawn), build(uncached(drawn))
    assert cached.signature == plain.signature and cached.hash == plain.hash
    assert (cached.range, cached.unit, cached.needs) == (plain.range, plain.unit, plain.needs)


def by_operators(node):
    """The same expression, written with Python's operators and plain numbers."""
    if isinstance(node, Constant):
        return node.value
    if not isinstance(node, Sum | Difference | Product | Negative):
        return node
    parts = [by_operators(part) for part in node.parts]
    if not any(isinstance(part, s.Scorer) for part in parts):
        parts[0] = Constant(parts[0])  # plain numbers would make another number
    if isinstance(node, Sum):
        return parts[0] + parts[1]
    if isinstance(node, Difference):
        return parts[0] - parts[1]
    if isinstance(node, Product):
        return parts[0] * parts[1]
    return -parts[0]


@given(expressions)
@settings(max_examples=100, deadline=None)
def test_python_operators_make_the_tree_that_the_text_makes(drawn):
    expression = build(drawn)
    written = by_operators(expression)
    assert written == s.parse(str(expression)) and str(written) == str(expression)


def by_numpy(node, values):
    """The same arithmetic, written without the library; NaN is "not applicable"."""
    if node in values:
        return values[node]
    if isinstance(node, Constant):
        return np.full(len(BATCH), node.value)
    if isinstance(node, Around):
        return by_numpy(node.of, values)
    return np.asarray(ARITHMETIC[type(node)](node, *[by_numpy(part, values) for part in node.parts]))


def gate(node, condition, of):
    above = -np.inf if node.above is None else node.above
    below = np.inf if node.below is None else node.below
    floor = node.of.range[0] if node.otherwise is None else node.otherwise
    return [np.nan if np.isnan(x) else y if above < x < below else floor for x, y in zip(condition, of, strict=True)]


def penalty(node, of):
    over = 0.0 if node.above is None else np.maximum(of - node.above, 0)
    under = 0.0 if node.below is None else np.maximum(node.below - of, 0)
    return -node.weight * (over + under)


def lagrangian(node, of):
    return 0.0 - node.start * ((of - node.target) if node.keep == "below" else (node.target - of))


def ensemble(node, *parts):
    how = {"mean": lambda row: sum(row) / len(row), "min": min, "median": statistics.median}[node.how]
    return [np.nan if np.isnan(row).any() else how(row) for row in np.transpose(parts).tolist()]


def lexicographic(node, *parts):
    """Digits, as Python's whole numbers."""
    found = []
    for row in zip(*parts, strict=True):
        digits = [(x - part.range[0]) / (part.range[1] - part.range[0]) for x, part in zip(row, node.of, strict=True)]
        if np.isnan(digits).any():
            found.append(np.nan)
            continue
        levels = [int(digit * node.steps + 0.5) for digit in digits]
        place = sum(level * (node.steps + 1) ** power for power, level in enumerate(reversed(levels)))
        found.append(place / ((node.steps + 1) ** len(levels) - 1))
    return found


def rank(node, of):
    ranked = of[~np.isnan(of)].tolist()
    if len(ranked) == 1:
        return of * 0 + 0.5
    wins = [sum(x > y for y in ranked) + sum(x == y for y in ranked) / 2 - 0.5 for x in of]
    return np.where(np.isnan(of), np.nan, np.array(wins) / max(len(ranked) - 1, 1))


ARITHMETIC = {
    Sum: lambda node, left, right: left + right,
    Difference: lambda node, left, right: left - right,
    Product: lambda node, left, right: left * right,
    Negative: lambda node, of: -of,
    s.clip: lambda node, of: np.clip(of, node.low, node.high),
    s.default: lambda node, of: np.where(np.isnan(of), node.value, of),
    s.gate: gate,
    s.penalty: penalty,
    s.lagrangian: lagrangian,
    s.ensemble: ensemble,
    s.lexicographic: lexicographic,
    s.rank: rank,
}
LEAF_SCORES = {leaf: leaf.bind(None).score(BATCH) for leaf in TEXT_LEAVES}
LEAF_VALUES = {leaf: np.where(scores.valid, scores.values, np.nan) for leaf, scores in LEAF_SCORES.items()}


@given(text_expressions)
@settings(max_examples=400, deadline=None)
def test_an_expression_is_worth_what_numpy_makes_of_its_leaves(drawn):
    expression = build(drawn)
    scores = expression.bind(None).score(BATCH)
    expected = by_numpy(expression, LEAF_VALUES)
    np.testing.assert_array_equal(scores.valid, ~np.isnan(expected))
    np.testing.assert_array_equal(scores.values, np.nan_to_num(expected))
    low, high = expression.range
    assert ((low <= scores.values) & (scores.values <= high))[scores.valid].all()
    if scores.tokens is not None:
        sums = scores.tokens.sum(axis=1)
        np.testing.assert_allclose(sums[scores.valid], scores.values[scores.valid], atol=1e-9)


@given(text_expressions, st.permutations(range(len(TEXTS))), st.integers(1, len(TEXTS)))
@settings(max_examples=150, deadline=None)
def test_the_order_of_a_batch_does_not_matter_and_its_size_only_to_ranks(drawn, order, size):
    expression = build(drawn)
    bound = expression.bind(None)
    whole = bound.score(BATCH)
    ranked = any(isinstance(node, s.rank) for node in walk(expression))
    assert expression.set_level == ranked
    rows = order if ranked else order[:size]
    some = bound.score(BATCH.rows(rows))
    assert some.values.tobytes() == whole.values[rows].tobytes()
    assert some.valid.tobytes() == whole.valid[rows].tobytes()
    assert (some.tokens is None) == (whole.tokens is None) or not whole.valid.all()


@given(text_expressions)
@settings(max_examples=50, deadline=None)
def test_an_expression_may_be_partial_only_where_a_leaf_is(drawn):
    expression = build(drawn)
    if not expression.partial_in(None):
        assert expression.bind(None).score(BATCH).valid.all()
