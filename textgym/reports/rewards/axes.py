"""The axes of the truth side by side: what designs gained and lost beside quality."""

import numpy as np

from textgym.reports.blocks import Cell, Column, Interval, Picture, Section, Table
from textgym.reports.charts import radar
from textgym.reports.rewards.arms import Arm, Bench
from textgym.reports.rewards.standings import known
from textgym.reports.rewards.wording import number

LIMITS = (-1.0, 1.5)
"""Of the radar; what is beyond stands at the rim."""

GOLD = "gold/"


def axes(bench: Bench, seed: int) -> Section | None:
    """A radar and a table; None for fewer than three axes on which the corpus is better than the reference."""
    arms = bench.arms("designs")
    names = [name for name in bench.columns() if name.startswith(GOLD)]
    scaled = [name for name in names if any(bench.ends(place, name) for place in bench.references)]
    if not arms or len(names) < 3:
        return None
    rows: list[list[Cell | Interval]] = [
        [arm.label, *(known(bench.level(arm, name), seed) for name in names)] for arm in arms
    ]
    yardsticks = {"reference": tuple(bench.references.values()), "corpus": (bench.corpus,) if bench.corpus else ()}
    for label, runs in yardsticks.items():
        if runs:
            levels = [bench.level(Arm(label, runs), name) for name in names]
            rows.append([label, *(None if one is None else float(one.means.mean()) for one in levels)])
    columns = [Column("design"), *(Column(name.removeprefix(GOLD), 3) for name in names)]
    table = Table("Axes of the truth, as they are; higher is better.", columns, rows)
    text = (
        "In the radar every axis has its own scale, on which the reference is 0 and the corpus 1. Axes on which the "
        "corpus is not better than the reference have no scale and are in the table alone."
    )
    if len(scaled) < 3:
        return Section("axes", "Axes of the truth", (), [table])
    return Section("axes", "Axes of the truth", [text], [_radar(bench, arms, scaled), table])


def _radar(bench: Bench, arms: list[Arm], names: list[str]) -> Picture:
    series = {"reference": [0.0] * len(names)}
    for arm in arms:
        series[arm.label] = [_placed(bench, arm, name) for name in names]
    spokes = [name.removeprefix(GOLD) for name in names]
    words = "; ".join(
        f"{label}: " + ", ".join(f"{spoke} {number(value)}" for spoke, value in zip(spokes, values, strict=True))
        for label, values in series.items()
    )
    drawn = radar(spokes, series, limits=LIMITS, apart=len(arms) > 3)
    return Picture("Axes of the truth, 0 the reference and 1 the corpus.", drawn, words)


def _placed(bench: Bench, arm: Arm, name: str) -> float:
    values = []
    for run in arm.runs:
        own, ends = run.values(name), bench.ends(run.job["checkpoint"], name)
        if own is not None and ends is not None:
            values.append((float(np.nanmean(own)) - ends[0]) / (ends[1] - ends[0]))
    return float(np.mean(values)) if values else float("nan")
