"""Random expressions for Hypothesis: every node there is, over leaves that need nothing and leaves that need a task.

Strategies draw recipes (kind, keywords, parts), since the type checker of the tests rolls dice of its own; `build`
makes the expression.
"""

import math

from hypothesis import strategies as st

from textgym import scorers as s
from textgym.scorers.algebra import Constant, Difference, Negative, Product, Sum
from textgym.scorers.transforms import Clip, Default

numbers = st.one_of(st.integers(-1000, 1000), st.floats(-1e20, 1e20, allow_nan=False))


def recipe(kind, *parts, **keywords):
    return st.tuples(st.just(kind), st.fixed_dictionaries(keywords), st.tuples(*parts))


def build(drawn):
    if not isinstance(drawn, tuple):
        return Constant(drawn)
    kind, keywords, parts = drawn
    return kind(*map(build, parts), **keywords)


def uncached(drawn):
    """The recipe without its caches."""
    if not isinstance(drawn, tuple):
        return drawn
    kind, keywords, parts = drawn
    return uncached(parts[0]) if kind is kept else (kind, keywords, tuple(map(uncached, parts)))


def inside(scorer, share):
    """A value between the ends of a scorer's range; None if the range, or float64, is too narrow for one."""
    low, high = scorer.range
    if math.isfinite(low) and math.isfinite(high):
        bound = low + share * (high - low)
    else:
        bound = low + 5 * share if math.isfinite(low) else high - 5 * share if math.isfinite(high) else 4 * share - 2
    return bound if low < bound < high else None


def gated(condition, of, share, width, otherwise):
    """A gate that is open somewhere and closed somewhere; the second part alone where there can be none."""
    bound = inside(condition, share)
    if bound is None:
        return of
    if not math.isfinite(of.range[0]) and otherwise is None:
        of = s.clip(of, -4)
    if width is None:
        return s.gate(condition, of, above=bound, otherwise=otherwise)
    if width == 0:
        return s.gate(condition, of, below=bound, otherwise=otherwise)
    if bound + width <= bound:
        return of
    return s.gate(condition, of, above=bound, below=bound + width, otherwise=otherwise)


def penalised(of, share, side, weight):
    bound = inside(of, share)
    if bound is None:
        return of
    above, below = {"above": (bound, None), "below": (None, bound), "both": (bound + 0.5, bound)}[side]
    return s.penalty(of, above, below, weight)


def priced(of, share, keep, start):
    """A constraint that some text breaks and some text keeps; the part alone where there can be none."""
    target = inside(of, share)
    return of if target is None or of.moving else s.lagrangian(of, target, keep=keep, start=start)


def kept(of, size):
    return of if of.moving or of.set_level else s.cache(of, size=size)


def standardised(of):
    return of if of.moving else s.standard(of)


def ordered(*parts, steps):
    return s.lexicographic(*map(bounded, parts), steps=steps)


def bounded(part):
    low, high = part.range
    if not math.isfinite(high - low):
        part = s.clip(part, -2, 3)
        low, high = part.range
    return s.distinct() if low == high else part


def nodes(parts, numbers=numbers):
    """One node over parts that are drawn; numbers are those that may stand beside them."""
    side = st.one_of(parts, numbers)
    share = st.sampled_from([0.1, 0.25, 0.5, 0.9])
    sides = st.sampled_from(["above", "below", "both"])
    several = st.sampled_from([2, 3]).flatmap
    return st.one_of(
        recipe(Sum, side, side),
        recipe(Difference, side, side),
        recipe(Product, side, parts),
        recipe(Product, parts, side),
        recipe(Negative, side),
        recipe(Clip, parts, low=st.integers(-3, 0), high=st.one_of(st.none(), st.integers(1, 3))),
        recipe(Clip, parts, high=st.floats(-1, 1)),
        recipe(Default, parts, value=numbers),
        recipe(
            gated,
            side,
            parts,
            share=share,
            width=st.sampled_from([None, 0, 0.5]),
            otherwise=st.one_of(st.none(), st.integers(-3, 3)),
        ),
        recipe(penalised, parts, share=share, side=sides, weight=share | st.just(1)),
        recipe(
            priced, parts, share=share, keep=st.sampled_from(["below", "above"]), start=st.sampled_from([0, 0.5, 2])
        ),
        recipe(kept, parts, size=st.integers(1, 9)),
        recipe(s.product, parts, side, parts),
        several(lambda n: recipe(s.ensemble, *[side] * n, how=st.sampled_from(["mean", "min", "median"]))),
        several(lambda n: recipe(ordered, *[parts] * n, steps=st.integers(1, 100))),
        recipe(s.rank, side),
    )


leaves = st.one_of(
    recipe(s.repetition, n=st.integers(1, 5)),
    recipe(s.distinct, n=st.integers(1, 3)),
    recipe(s.length, min=st.one_of(st.none(), st.integers(0, 4))),
    recipe(s.fluency, lm=st.text(max_size=6), form=st.sampled_from(["mean", "sum"])),
    recipe(s.exact_match, ignore_case=st.booleans()),
    recipe(s.ead, n=st.integers(1, 2), vocab_size=st.one_of(st.none(), st.integers(2, 500))),
    recipe(s.brevity, target=st.one_of(st.none(), st.integers(1, 5))),
    recipe(s.slots, form=st.sampled_from(["coverage", "error_rate"]), field=st.text(max_size=4)),
    recipe(s.content_words),
)

expressions = st.recursive(leaves, lambda parts: nodes(parts) | recipe(standardised, parts), max_leaves=8)
"""Recipes of expressions of every kind; they cannot all be bound, since models are named at random."""

TEXT_LEAVES = (s.repetition(n=1), s.repetition(n=2), s.distinct(), s.length(), s.ead(vocab_size=50), s.exact_match())
"""Leaves that need nothing but the batch; the last one is not applicable to rows without references."""

text_expressions = st.recursive(
    st.sampled_from(TEXT_LEAVES).map(lambda leaf: (lambda: leaf, {}, ())),
    lambda parts: nodes(parts, st.integers(-3, 3)),
    max_leaves=8,
)
"""Recipes of expressions over `TEXT_LEAVES`."""
