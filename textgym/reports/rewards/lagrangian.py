"""Prices of constraints while they were learned, and what they came to."""

from collections.abc import Sequence

import numpy as np

from textgym.reports.blocks import Cell, Column, Interval, Picture, Section, Table
from textgym.reports.charts import Axis, Panel, Series, small_multiples
from textgym.reports.rewards.arms import Arm, Bench
from textgym.reports.rewards.runs import Run
from textgym.reports.rewards.standings import kl_of, known
from textgym.reports.rewards.traces import averaged, trace
from textgym.reports.rewards.wording import number

PRICE, MEAN = "price/", " mean"
"""Of what runs keep: the price of a constraint, and what the constrained measure was on average."""


def lagrangian(bench: Bench, seed: int) -> Section | None:
    """A trace of each price, and what it bought; None where no run kept a price."""
    arms = bench.arms("lagrangian")
    kept = dict.fromkeys(name for arm in arms for run in arm.runs for name in run.curve if name.startswith(PRICE))
    prices = [name for name in kept if not name.endswith(MEAN)]
    if not prices:
        return None
    panels = [
        Panel(name.removeprefix(PRICE), _lines(arms, name), Axis("tokens generated"), Axis("price")) for name in prices
    ]
    rows = [
        _row(bench, arm, name, seed) for arm in arms for name in prices if any(name in run.curve for run in arm.runs)
    ]
    columns = [
        Column("design"),
        Column("constraint"),
        Column("price at the end", 3, "mean over runs"),
        Column("held", 3, "the constrained measure in the last tenth of the tokens, where runs kept it"),
        Column("gold quality", about=bench.gold_label),
        Column("KL", 1, "nats a text"),
        Column("runs", 0),
    ]
    text = (
        "A constraint with a target has a price that rises while the target is missed and falls while it is kept: dual "
        "ascent. A price that settles above 0 binds, one at 0 has cost nothing, one that still rises was not met."
    )
    words = "; ".join(
        f"{panel.title}: "
        + ", ".join(f"{one.name} ends at {number(float(np.asarray(one.y)[-1]), 3)}" for one in panel.series)
        for panel in panels
    )
    picture = Picture("Prices of constraints against tokens generated.", small_multiples(panels, columns=2), words)
    return Section("lagrangian", "Constraints", [text], [Table("What constraints came to.", columns, rows), picture])


def _lines(arms: Sequence[Arm], name: str) -> list[Series]:
    found = []
    for place, arm in enumerate(arms):
        traces = [own for run in arm.runs if (own := trace(run, name)) is not None]
        if line := averaged(arm.label, traces, place):
            found.append(line)
    return found


def _row(bench: Bench, arm: Arm, price: str, seed: int) -> list[Cell | Interval]:
    constraint = price.removeprefix(PRICE)
    target = arm.job["variant"].get("target")
    return [
        arm.label,
        constraint if target is None else f"{constraint}, target {target}",
        _at_the_end(arm.runs, price, last=1),
        _at_the_end(arm.runs, price + MEAN, last=10),
        known(bench.gold(arm), seed),
        kl_of(arm, seed),
        len(arm.runs),
    ]


def _at_the_end(runs: Sequence[Run], name: str, last: int) -> float | None:
    """The mean over runs of the last value, or of as many values as the last tenth has."""
    traces = [own for run in runs if (own := trace(run, name)) is not None]
    if not traces:
        return None
    return float(np.mean([values[-(1 if last == 1 else max(len(values) // last, 1)) :].mean() for _, values in traces]))
