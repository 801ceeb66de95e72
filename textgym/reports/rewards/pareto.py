"""Compositions of rewards: which of them no other one beats on both of two measures."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64

from textgym.reports.blocks import Block, Cell, Column, Interval, Picture, Section, Table
from textgym.reports.charts import Axis, Series, lines
from textgym.reports.rewards.arms import Arm, Bench
from textgym.reports.rewards.bootstrap import BOTH, Estimate, estimate
from textgym.reports.rewards.standings import kl_of
from textgym.reports.rewards.wording import listed
from textgym.reports.verdict import REWARD, TRUTH

AXES = ((REWARD, TRUTH), ("gold/fluency", "gold/coherence"), ("gold/coherence", "gold/information"))
"""Pairs of measures, higher is better in both: what was paid against the truth, and axes of the truth."""


def pareto(bench: Bench, seed: int) -> Section | None:
    """Fronts of the compositions; None for fewer than two."""
    arms = bench.arms("composition")
    blocks: list[Block] = []
    for pair in AXES:
        shifts = [[_shift(bench, arm, name, seed) for name in pair] for arm in arms]
        known = [(arm, one, two) for arm, (one, two) in zip(arms, shifts, strict=True) if one and two]
        if len(known) > 1:
            blocks += _front(bench, pair, known, seed)
    if not blocks:
        return None
    text = (
        "A composition is on the front if no other one is better on one measure and at least as good on the other. "
        "Changes are against the reference, in standard deviations of its texts. The last column but one says in which "
        "share of the bootstrap a composition was on the front: a front of chance shows as such."
    )
    return Section("pareto", "Compositions", [text], blocks)


def front(values: Float64[np.ndarray, "*rows A 2"]) -> Bool[np.ndarray, "*rows A"]:
    """Which of A points no other one dominates, higher being better."""
    others, own = values[..., None, :, :], values[..., :, None, :]
    dominated = (others >= own).all(-1) & (others > own).any(-1)
    return np.asarray(~dominated.any(-1))


def _shift(bench: Bench, arm: Arm, column: str, seed: int) -> Estimate | None:
    sample = bench.shift(arm, column)
    return None if sample is None else estimate(sample, unit=BOTH, seed=seed)


def _front(
    bench: Bench, pair: tuple[str, str], known: Sequence[tuple[Arm, Estimate, Estimate]], seed: int
) -> list[Block]:
    """A table and a picture of one pair of measures."""
    names = [name.replace("/", " ") for name in pair]
    values = np.array([[one.value, two.value] for _, one, two in known])
    draws = np.stack([np.stack([one.draws, two.draws], -1) for _, one, two in known], 1)
    on, often = front(values), front(draws).mean(0)
    rows: list[list[Cell | Interval]] = [
        [arm.label, one.interval, two.interval, float(share), kl_of(arm, seed)]
        for (arm, one, two), share in zip(known, often, strict=True)
    ]
    columns = [
        Column("composition"),
        *(Column(name) for name in names),
        Column("on the front"),
        Column("KL", 1, "nats"),
    ]
    marks = {(place, 0): "front" for place, own in enumerate(on) if own}
    table = Table(f"{names[0].capitalize()} against {names[1]}.", columns, rows, marks)
    return [table, _picture(names, known, values, on)]


def _picture(
    names: Sequence[str],
    known: Sequence[tuple[Arm, Estimate, Estimate]],
    values: Float64[np.ndarray, "A 2"],
    on: Bool[np.ndarray, " A"],
) -> Picture:
    series = []
    for place, (arm, one, two) in enumerate(known):
        end = two.interval
        low, high = ([end.low], [end.high]) if end else (None, None)
        series.append(Series(arm.label, [one.value], [two.value], low, high, points=True, hue=place))
    best = values[on][np.argsort(values[on][:, 0])]
    series.append(Series("front", best[:, 0], best[:, 1], dashed=True, hue=len(known)))
    axes = [Axis(f"{name}, change in deviations") for name in names]
    words = f"On the front: {listed([arm.label for (arm, _, _), own in zip(known, on, strict=True) if own])}."
    return Picture(f"The front of {names[0]} and {names[1]}.", lines(series, *axes), words)
