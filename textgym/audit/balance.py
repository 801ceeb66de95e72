"""Does it tell texts apart, and do all its parts have a say?"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from textgym.audit.arena import Arena
from textgym.audit.findings import Finding
from textgym.scorers.algebra import Constant
from textgym.scorers.base import Scorer
from textgym.scorers.delivery import summands
from textgym.types import TextBatch

SAME = 0.9
"""Share of texts with one and the same score from which a reward is saturated."""

EVEN_GROUPS, DEAD_GROUPS = 0.5, 0.95
"""Share of prompts whose completions all score the same: worth saying, and a failure."""

DOMINATES, LEADS, SILENT = 0.85, 0.7, 0.01
"""Share of the variance of a sum that one term has: a failure, worth saying, and none to speak of."""


def check_spread(arena: Arena) -> Iterator[Finding]:
    """Is it saturated, or the same for all completions of a prompt?"""
    values = np.concatenate([arena.liked, arena.sampled])
    values = values[np.isfinite(values)]
    if not len(values):
        yield Finding("spread", "FAIL", "no text has a score", {})
        return
    levels, counts = np.unique(values, return_counts=True)
    share, level = float(counts.max() / len(values)), float(levels[counts.argmax()])
    numbers = {"share": share, "level": level, "levels": float(len(levels))}
    if share >= SAME:
        where = "everything" if len(levels) == 1 else f"{share:.0%} of all texts"
        yield Finding("spread", "FAIL", f"saturated: {where} scores {level:.4g}", numbers)
    else:
        yield Finding("spread", "ok", f"{len(levels)} different scores among {len(values)} texts", numbers)


def check_groups(arena: Arena) -> Iterator[Finding]:
    """In how many groups of completions of one prompt is there nothing to learn from?"""
    groups = [arena.sampled[arena.group == g] for g in np.unique(arena.group)]
    groups = [known for group in groups if len(known := group[np.isfinite(group)]) > 1]
    if not groups:
        yield Finding("groups", "skip", "no prompt has several completions", {})
        return
    even = float(np.mean([np.ptp(group) == 0 for group in groups]))
    numbers = {"share": even, "groups": float(len(groups))}
    said = f"all completions of a prompt score the same for {even:.0%} of {len(groups)} prompts"
    if even >= DEAD_GROUPS:
        yield Finding("groups", "FAIL", f"{said}: nothing can be learned", numbers)
    elif even >= EVEN_GROUPS:
        yield Finding("groups", "warn", f"{said}: much is sampled for nothing", numbers)
    else:
        yield Finding("groups", "ok", f"{said}" if even else "completions of a prompt differ in their scores", numbers)


@dataclass(frozen=True)
class Share:
    """What a term of a sum contributes.

    Attributes:
        text: the term, with its weight.
        variance: its covariance with the sum over the variance of the sum; the shares of all terms sum to 1.
        decides: share of the pairs of completions of a prompt whose order is another without the term.
    """

    text: str
    variance: float
    decides: float


def shares(arena: Arena) -> list[Share]:
    """What each term of the reward contributes; empty for a reward that is no sum.

    The variance is that among samples and good texts together: where a policy begins, and where it is to go.
    """
    terms = list(summands(arena.bound.scorer))
    if len(terms) < 2:
        return []
    samples = [weight * _of_term(arena, term, arena.samples) for weight, term in terms]
    good = [weight * _of_term(arena, term, arena.good) for weight, term in terms]
    columns = [np.concatenate(pair) for pair in zip(samples, good, strict=True)]
    known = np.isfinite(columns).all(axis=0)
    total = np.sum(columns, axis=0)
    spread = float(np.var(total[known])) if known.any() else 0.0
    if not spread:
        return []
    sampled = np.sum(samples, axis=0)
    found = []
    for (weight, term), column, own in zip(terms, columns, samples, strict=True):
        covariance = float(np.cov(column[known], total[known], bias=True)[0, 1])
        found.append(Share(_shown(weight, term), covariance / spread, _decides(arena, sampled, own)))
    return found


def check_dominance(arena: Arena) -> Iterator[Finding]:
    """Which term of a sum decides?"""
    found = shares(arena)
    if not found:
        return
    first = max(found, key=lambda share: share.variance)
    numbers = {share.text: share.variance for share in found}
    rest = "; ".join(f"{s.text} decides {_one_in(s.decides)}" for s in found if s is not first)
    said = f"{first.text} has {first.variance:.0%} of the variance of the sum; {rest}"
    if first.variance >= DOMINATES:
        yield Finding(
            "dominance", "FAIL", f"{first.text} dominates: {said.removeprefix(first.text + ' has ')}", numbers
        )
    elif first.variance >= LEADS:
        yield Finding("dominance", "warn", said, numbers)
    else:
        yield Finding("dominance", "ok", said, numbers)
    for share in found:
        if abs(share.variance) < SILENT and share.decides < SILENT:
            message = f"{share.text} has no say: {share.variance:.1%} of the variance, {_one_in(share.decides)}"
            yield Finding("dominance", "FAIL", message, {share.text: share.variance})


def _of_term(arena: Arena, term: Scorer, batch: TextBatch) -> Float64[np.ndarray, " S"]:
    scores = term.bind(arena.bound.context).score(batch)
    return np.where(scores.valid, scores.values, np.nan)


def _decides(arena: Arena, total: Float64[np.ndarray, " S"], column: Float64[np.ndarray, " S"]) -> float:
    """Share of pairs within a group that the sum orders one way and the sum without the term another."""
    turned = pairs = 0
    without = total - column
    for g in np.unique(arena.group):
        rows = np.flatnonzero((arena.group == g) & np.isfinite(total))
        i, j = np.triu_indices(len(rows), 1)
        with_it = np.sign(total[rows[i]] - total[rows[j]])
        pairs += int((with_it != 0).sum())
        turned += int(((with_it != 0) & (np.sign(without[rows[i]] - without[rows[j]]) != with_it)).sum())
    return turned / pairs if pairs else 0.0


def _shown(weight: float, term: Scorer) -> str:
    return str(term) if weight == 1 else f"-{term}" if weight == -1 else str(Constant(weight) * term)


def _one_in(share: float) -> str:
    return f"1 ranking in {1 / share:.0f}" if share > 0.005 else "no ranking"
