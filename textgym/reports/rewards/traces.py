"""What happened on the way: learning curves against tokens generated."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float64

from textgym.reports.blocks import Picture, Section
from textgym.reports.charts import Axis, Panel, Series, small_multiples
from textgym.reports.rewards.arms import Bench
from textgym.reports.rewards.runs import SAMPLED, Run
from textgym.reports.rewards.wording import number
from textgym.reports.verdict import REWARD

Trace = tuple[Float64[np.ndarray, " K"], Float64[np.ndarray, " K"]]
"""Tokens, and values at them."""

POINTS = 60

MEASURES = {
    "reward": "reward, in deviations of the reference",
    "kl": "KL, nats a text",
    "length": "length, tokens",
    "entropy": "entropy, nats a token",
}
"""Of the curves that runs keep."""


def curves(bench: Bench, seed: int) -> Section | None:
    """Learning curves of the designs; None where no run kept one."""
    readers: dict[str, Callable[[Run], Trace | None]] = {"gold quality": partial(_gold, bench)}
    readers |= {label: _reader(bench, name) for name, label in MEASURES.items()}
    panels, words = [], []
    for title, read in readers.items():
        series = []
        for arm in bench.arms("designs"):
            traces = [own for run in arm.runs if (own := read(run)) is not None]
            if line := averaged(arm.label, traces, bench.hue(arm)):
                series.append(line)
        if series:
            panels.append(Panel(title, series, Axis("tokens generated"), Axis("")))
            ends = [f"{one.name} ends at {number(float(np.asarray(one.y)[-1]))}" for one in series]
            words.append(f"{title}: {', '.join(ends)}")
    if not panels:
        return None
    text = (
        "Against tokens generated, which is what agents have in common. A line is the mean over the runs of a design, "
        "its band goes from the lowest run to the highest. Gold is that of held-out briefs, at each evaluation; the "
        "rest is of the texts that were learned from."
    )
    picture = Picture("Learning curves.", small_multiples(panels, columns=2), ". ".join(words))
    return Section("curves", "Learning curves", [text], [picture])


def trace(run: Run, name: str) -> Trace | None:
    """A figure that a run kept while it learned, where it is known; None where it never is."""
    tokens, values = run.curve.get("tokens"), run.curve.get(name)
    if tokens is None or values is None:
        return None
    known = np.isfinite(tokens) & np.isfinite(values)
    return (tokens[known], values[known]) if known.any() else None


def averaged(name: str, traces: Sequence[Trace], hue: int) -> Series | None:
    """The mean of traces up to where the shortest ends, with a band from the lowest to the highest."""
    if not traces:
        return None
    begin, end = max(float(tokens[0]) for tokens, _ in traces), min(float(tokens[-1]) for tokens, _ in traces)
    longest = max((tokens for tokens, _ in traces), key=len)
    grid = longest if len(longest) <= POINTS else np.linspace(begin, end, POINTS)
    grid = grid[(grid >= begin) & (grid <= end)]
    if not len(grid):
        return None
    values = np.array([np.interp(grid, *own) for own in traces])
    low, high = (values.min(0), values.max(0)) if len(traces) > 1 else (None, None)
    return Series(name, grid, values.mean(0), low, high, hue=hue)


def _reader(bench: Bench, name: str) -> Callable[[Run], Trace | None]:
    """Reads a figure; a reward in deviations from what the reference earns, so that designs can stand side by side."""

    def read(run: Run) -> Trace | None:
        own = trace(run, name)
        if own is None or name != REWARD:
            return own
        before = bench.before(run, REWARD)
        deviation = 0.0 if before is None else float(np.nanstd(before))
        return None if before is None or deviation == 0 else (own[0], (own[1] - np.nanmean(before)) / deviation)

    return read


def _gold(bench: Bench, run: Run) -> Trace | None:
    """Gold quality at each evaluation, from the reference on."""
    origin = bench.origin(run.job["checkpoint"])
    looks = [look for look in run.looks if look.way == SAMPLED and look.tokens > 0]
    seen = [(float(look.tokens), gold) for look in looks if (gold := bench.seen(run, look)) is not None]
    points = [] if origin is None else [(0.0, origin), *((tokens, float(np.nanmean(gold))) for tokens, gold in seen)]
    known = np.array(points).reshape(-1, 2)
    return (known[:, 0], known[:, 1]) if len(known) > 1 else None
