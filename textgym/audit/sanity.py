"""Does it work at all? Finite, in its range, the same when asked again, the same in any company."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

from textgym.audit.arena import Arena
from textgym.audit.findings import Finding
from textgym.testing.scorers import LONG, ODD_TEXTS
from textgym.types import TextBatch

CLOSE = 1e-5
"""What neural scorers may differ by between batches, relative to the spread of the values."""

TRIED = 32
"""Good texts that are scored one by one."""


def check_odd_texts(arena: Arena) -> Iterator[Finding]:
    """Is every text scored: empty, blank, very long, of any script?"""
    odd = [*ODD_TEXTS, "word " * LONG]
    said = [(text, _trouble(arena, text)) for text in odd]
    failed = [f"{_quoted(text)} {trouble}" for text, trouble in said if trouble and trouble != NOTHING]
    silent = [_quoted(text) for text, trouble in said if trouble == NOTHING]
    numbers = {"texts": len(odd), "failed": len(failed), "not_applicable": len(silent)}
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        yield Finding("finite", "FAIL", f"of {len(odd)} odd texts, {failed[0]}{more}", numbers)
    elif silent:
        message = f"not applicable to {len(silent)} of {len(odd)} odd texts, e.g. {silent[0]}: write default(x, value)"
        yield Finding("finite", "warn", message, numbers)
    else:
        yield Finding("finite", "ok", f"{len(odd)} odd texts have a finite score each", numbers)


NOTHING = "is not applicable"


def _trouble(arena: Arena, text: str) -> str:
    """What is wrong with the score of a text; empty for nothing."""
    try:
        scores = arena.score(arena.rewritten([text], [0]))
    except Exception as error:
        return f"raises {type(error).__name__}: {_short(error)}"
    if not scores.valid[0]:
        return NOTHING
    return "" if np.isfinite(scores.values[0]) else f"scores {scores.values[0]}"


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def check_range(arena: Arena) -> Iterator[Finding]:
    """Does every value lie where the scorer says?"""
    low, high = arena.bound.scorer.range
    values = np.concatenate([arena.liked, arena.sampled])
    values = values[np.isfinite(values)]
    if not len(values):
        yield Finding("range", "FAIL", "no text of the arena has a finite score", {})
        return
    least, most = float(values.min()), float(values.max())
    numbers = {"low": least, "high": most}
    slack = 1e-9 * max(1.0, abs(least), abs(most))
    seen = f"values from {least:.4g} to {most:.4g}"
    if least < low - slack or most > high + slack:
        yield Finding("range", "FAIL", f"{seen}, declared is {low:g} to {high:g}", numbers)
    elif np.isinf([low, high]).all():
        yield Finding("range", "ok", f"{seen}; no bounds are declared", numbers)
    else:
        yield Finding("range", "ok", f"{seen}, within {low:g} to {high:g}", numbers)


def check_determinism(arena: Arena) -> Iterator[Finding]:
    """Is it the same when asked again?"""
    scale = _spread(arena.liked)
    asked = [arena.values(_copy(arena.good)) for _ in range(2)]
    gap = max(_gap(arena.liked, again) for again in asked)
    numbers = {"difference": gap}
    if gap > CLOSE * scale:
        yield Finding(
            "deterministic", "FAIL", f"the same texts score differently when asked again, by {gap:.3g}", numbers
        )
    else:
        yield Finding("deterministic", "ok", f"the same when asked again{_within(gap)}", numbers)


def check_batches(arena: Arena) -> Iterator[Finding]:
    """Is it the same alone, in reverse order, and among copies?"""
    rows = list(range(min(TRIED, len(arena.good))))
    base = arena.values(arena.good.rows(rows))
    alone = np.concatenate([arena.values(arena.good.row(i)) for i in rows])
    reverse = arena.values(arena.good.rows(rows[::-1]))[::-1]
    twice = arena.values(arena.good.rows([*rows, *rows]))[: len(rows)]
    gaps = {"alone": _gap(base, alone), "in reverse order": _gap(base, reverse), "in a larger batch": _gap(base, twice)}
    worst = max(gaps, key=lambda company: gaps[company])
    numbers = {"difference": gaps[worst]}
    if gaps[worst] > CLOSE * _spread(base):
        yield Finding("batch", "FAIL", f"a text scores differently {worst}, by {gaps[worst]:.3g}", numbers)
    else:
        yield Finding("batch", "ok", f"the same alone, in any order and company{_within(gaps[worst])}", numbers)


def check_records(arena: Arena) -> Iterator[Finding]:
    """Are saved rollouts scored as they were when they were written down?"""
    if arena.recorded is None or not np.isfinite(arena.recorded).any():
        return
    known = np.isfinite(arena.recorded)
    differ = ~np.isclose(arena.sampled[known], arena.recorded[known], rtol=1e-3, atol=1e-6)
    share = float(differ.mean())
    numbers = {"share": share, "rollouts": float(known.sum())}
    if share:
        yield Finding(
            "recorded", "warn", f"{share:.0%} of {known.sum()} rollouts score otherwise than was recorded", numbers
        )
    else:
        yield Finding("recorded", "ok", f"{known.sum()} rollouts score as was recorded", numbers)


def _copy(batch: TextBatch) -> TextBatch:
    """A batch that nothing has been kept of."""
    return batch.rows(range(len(batch)))


def _gap(one: Float64[np.ndarray, " B"], other: Float64[np.ndarray, " B"]) -> float:
    """The largest difference; infinite where one is a number and the other is not."""
    if (np.isnan(one) != np.isnan(other)).any():
        return float("inf")
    with np.errstate(invalid="ignore"):
        gaps = np.where(one == other, 0.0, np.abs(one - other))
    return float(np.nanmax(gaps, initial=0.0))


def _spread(values: Float64[np.ndarray, " B"]) -> float:
    """A length to measure differences by."""
    finite = values[np.isfinite(values)]
    return max(float(finite.std()), 1e-3 * float(np.abs(finite).max()), 1e-12) if len(finite) else 1.0


def _within(gap: float) -> str:
    return "" if gap == 0 else f", within {gap:.1g}"


def _short(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else ""
    return text if len(text) <= 120 else text[:117] + "..."
