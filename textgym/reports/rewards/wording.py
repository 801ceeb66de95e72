"""Figures in sentences: intervals, counts and lists as people read them."""

from collections.abc import Sequence

from textgym.reports.blocks import Interval
from textgym.reports.rewards.bootstrap import BOTH, RUNS, TEXTS

DRAWN = {
    RUNS: "over runs, drawn again within each checkpoint, with the same briefs for all",
    TEXTS: "over texts, and hold for these runs, not for the designs",
    BOTH: "over runs and briefs, both drawn again",
}
"""What intervals are, by what was drawn again."""


def shown(interval: Interval | None, digits: int = 2, sign: bool = False) -> str:
    """An estimate with its interval, e.g. ``0.42 [0.38, 0.46]``; "not known" for None."""
    if interval is None:
        return "not known"
    lead = "+" if sign else ""
    ends = ", ".join(number(end, digits) for end in (interval.low, interval.high))
    return f"{number(interval.value, digits, lead)} [{ends}]"


def number(value: float, digits: int = 2, lead: str = "") -> str:
    """A number without a minus before nothing but zeros."""
    return f"{round(value, digits) + 0.0:{lead}.{digits}f}"


def begun(text: str) -> str:
    """A sentence with its first letter large."""
    return text[:1].upper() + text[1:]


def counted(count: int, one: str, several: str = "") -> str:
    """A number with its noun, e.g. ``1 run`` and ``3 runs``."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def listed(words: Sequence[str]) -> str:
    """Words with commas, the last one after "and"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
