"""Which designs differ: paired differences, probability of improvement, and performance profiles."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float64

from textgym.reports.blocks import Block, Cell, Column, Interval, Picture, Section, Table
from textgym.reports.charts import Axis, Series, lines
from textgym.reports.rewards.aggregate import improvement, profile
from textgym.reports.rewards.arms import Bench
from textgym.reports.rewards.bootstrap import RUNS, TEXTS, estimate
from textgym.reports.rewards.standings import Standing, ahead, standings
from textgym.reports.rewards.wording import DRAWN

THRESHOLDS = 60
"""Of a performance profile."""


def pairs(bench: Bench, seed: int) -> Section | None:
    """Every design against every other one; None for fewer than two."""
    found = standings(bench, bench.arms("designs"), seed)
    if len(found) < 2:
        return None
    several = all(len(one.arm.runs) > 1 for one in found)
    blocks: list[Block] = [_differences(bench, found, seed)]
    if several:
        blocks += [_improvements(bench, found, seed), _profiles(bench, found, seed)]
    return Section(
        "pairs",
        "Which designs differ",
        [
            "A cell is the gold quality of its row minus that of its column, over runs of the same checkpoint and "
            f"seed about the same briefs. Intervals are {DRAWN[RUNS if several else TEXTS]}. Two designs differ where "
            "the interval excludes 0; of designs that are the same, one pair in twenty does by chance."
        ],
        blocks,
    )


def _differences(bench: Bench, found: Sequence[Standing], seed: int) -> Table:
    rows: list[list[Cell | Interval]] = []
    marks = {}
    for place, first in enumerate(found):
        cells: list[Cell | Interval] = [first.arm.label]
        for other, second in enumerate(found):
            apart = None if place == other else ahead(bench, first.arm, second.arm, seed)
            cells.append(apart.interval if apart else None)
            if apart and apart.interval and apart.interval.sign:
                marks[place, other + 1] = "better" if apart.interval.sign > 0 else "worse"
        rows.append(cells)
    columns = [Column("row minus column"), *(Column(one.arm.label, scaled=True) for one in found)]
    return Table("Paired differences in gold quality, the best design first.", columns, rows, marks)


def _improvements(bench: Bench, found: Sequence[Standing], seed: int) -> Table:
    samples = [bench.gold(one.arm) for one in found]
    rows: list[list[Cell | Interval]] = [
        [
            one.arm.label,
            *(
                improvement(first, second, seed) if first is not second and first and second else None
                for second in samples
            ),
        ]
        for one, first in zip(found, samples, strict=True)
    ]
    about = "probability that a run of the row is better than a run of this design"
    columns = [Column("row better than column"), *(Column(one.arm.label, about=about) for one in found)]
    caption = "Probability of improvement (Agarwal et al. 2021): a run of the row against one of the column."
    return Table(caption, columns, rows)


def _profiles(bench: Bench, found: Sequence[Standing], seed: int) -> Picture:
    """The higher a line, the more runs are that good."""
    means = {one.arm.label: sample for one in found if (sample := bench.gold(one.arm)) is not None}
    ends = np.concatenate([sample.means for sample in means.values()])
    thresholds = np.linspace(min(ends.min(), 0.0), max(ends.max(), 0.0), THRESHOLDS)
    drawn = []
    for one in found:
        sample = means[one.arm.label]
        bands = [estimate(sample, partial(_above, at), seed=seed).interval for at in thresholds]
        low, high = (np.clip([getattr(band, end) for band in bands], 0, 1) for end in ("low", "high"))
        shares = profile(sample.means, thresholds)
        drawn.append(Series(one.arm.label, thresholds, shares, low, high, hue=bench.hue(one.arm)))
    picture = lines(drawn, Axis(bench.gold_label), Axis("share of runs above", limits=(0, 1.02)))
    words = "; ".join(f"half of the runs of {name} above {np.median(one.means):.2f}" for name, one in means.items())
    return Picture("Performance profiles: which share of a design's runs is better than that.", picture, words)


def _above(threshold: float, scores: Float64[np.ndarray, "*rows R"]) -> Any:
    return (scores > threshold).mean(-1)
