"""Tables in Markdown, made from saved rows alone."""

from collections.abc import Sequence

import numpy as np
from scipy import stats
from textgym.benchmarks.oracle.unit import Row
from textgym.benchmarks.story_agents.measure import FAULTS, REFERENCE
from textgym.benchmarks.story_agents.plan import LEARNERS

COLUMNS = {"kl": 1, "reward": 2, "gold": 3, **dict.fromkeys(FAULTS, 3), "accuracy": 3, "length": 1, "rep-4": 3}
"""Fact: digits."""

WITH_INTERVAL = ("gold", "contradictions")

LIMITS = {"contradictions": 0.5, "kl": 10.0, "length": 0.8, "rep-4": 2.0}
"""What is asked on gold: KL in nats, at most; length as a share of the model's, at least; the others, at most."""


def report(rows: Sequence[Row]) -> str:
    """Whether each agent did what was asked, what all runs came to, and a greedy story of each."""
    parts = [asked(rows), table(rows, "sampled"), table(rows, "greedy"), stories(rows)]
    return "\n\n".join(part for part in parts if part)


def last(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The last look of every run, by case; the yardsticks first, each a case of its own."""
    ends: dict[tuple[str, int], Row] = {}
    for row in sorted(rows, key=lambda row: row["experiment"] != "compared"):
        case = row["name"] if row["experiment"] == "compared" else row["case"]
        ends[case, row["turn"]] = row
    found: dict[str, list[Row]] = {}
    for (case, _), row in ends.items():
        found.setdefault(case, []).append(row)
    return found


def column(rows: Sequence[Row], fact: str, way: str = "sampled") -> list[float]:
    """A fact of each row that has it."""
    return [row["measured"][way][fact] for row in rows if fact in row["measured"].get(way, ())]


def table(rows: Sequence[Row], way: str) -> str:
    """Means over the seeds of the last looks, of gold and contradictions with Student's 95% interval."""
    lines = _head([f"{way}, at the end", "runs", "tokens", *COLUMNS])
    for case, ends in last(rows).items():
        if not column(ends, "gold", way):
            continue
        tokens = int(np.mean([end.get("tokens", 0) for end in ends]))
        cells = [case, str(len(ends)), f"{tokens:,}" if tokens else ""]
        cells += [_cell(column(ends, fact, way), digits, fact in WITH_INTERVAL) for fact, digits in COLUMNS.items()]
        lines.append(_line(cells))
    return "\n".join(lines)


def asked(rows: Sequence[Row]) -> str:
    """What was asked of the agents that learn from gold, and what their means at the end are; empty without the model.

    Contradictions, length and rep-4 as shares of the model's own.
    """
    ends = last(rows)
    own = ends.get(REFERENCE)
    if not own or not any(agent in ends for agent in LEARNERS):
        return ""
    lines = _head(["on gold", "contradictions / the model's", "KL, nats", "length / the model's", "rep-4 / ...", "met"])
    for agent in (agent for agent in LEARNERS if agent in ends):
        found = {
            fact: float(np.mean(column(ends[agent], fact)) / (1 if fact == "kl" else column(own, fact)[0]))
            for fact in LIMITS
        }
        met = all(found[fact] >= limit if fact == "length" else found[fact] <= limit for fact, limit in LIMITS.items())
        lines.append(_line([agent, *(f"{value:.2f}" for value in found.values()), "yes" if met else "NO"]))
    return "\n".join(lines)


def stories(rows: Sequence[Row]) -> str:
    """How the greedy story about the first held-out brief begins, of the first run of each case."""
    lines = _head(["", "greedy story about the first brief"])
    for case, ends in last(rows).items():
        text = ends[0]["measured"].get("greedy story")
        if text is not None:
            lines.append(_line([case, f"{text.strip()[:160]}{'...' * (len(text.strip()) > 160)}"]))
    return "\n".join(lines) if len(lines) > 2 else ""


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of independent runs and its 95% interval by Student's t; one run has none."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, mean, mean
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def _cell(values: Sequence[float], digits: int, ends: bool) -> str:
    if not values:
        return ""
    mean, low, high = (f"{end:.{digits}f}" for end in interval(values))
    return f"{mean} [{low}, {high}]" if ends and len(values) > 1 else mean


def _head(cells: Sequence[str]) -> list[str]:
    return [_line(cells), "|" + "---|" * len(cells)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
