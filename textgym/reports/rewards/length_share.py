"""How much of a gain is length: what would be left of it if texts were as long as the reference's.

Of each run the change of a text, y, is regressed on the change of its length, x, both against the reference's text
about the same brief: y = a + b x. Then b mean(x) is the part of mean(y) that goes with length, and a the gain at the
same length (compare Singhal et al. 2023, "A long way to go: investigating length correlations in RLHF").
"""

from typing import Any

import numpy as np
from jaxtyping import Float64

from textgym.reports.blocks import Cell, Column, Interval, Section, Table
from textgym.reports.rewards.arms import Arm, Bench
from textgym.reports.rewards.bootstrap import (
    BOTH,
    RUNS,
    TEXTS,
    Estimate,
    Sample,
    iqm,
    run_choices,
    strata,
    stretch,
    text_counts,
)
from textgym.reports.verdict import REWARD, TRUTH

LABELS = {REWARD: "reward", TRUTH: "gold quality"}


def length_share(bench: Bench, seed: int) -> Section | None:
    """For reward and gold of each design, the gain, the gain at the same length, and the share of length."""
    rows: list[list[Cell | Interval]] = []
    for arm in bench.arms("designs"):
        for column, label in LABELS.items():
            if (row := _row(bench, arm, column, label, seed)) is not None:
                rows.append(row)
    if not rows:
        return None
    columns = [
        Column("design"),
        Column("of"),
        Column("longer by", 1, "tokens, against the reference"),
        Column("gain", 3, "against the reference, brief by brief"),
        Column("at the same length", 3, "the gain that is left where lengths do not differ"),
        Column("share of length", 2, "of the gain; shown where the interval of the gain excludes 0"),
        Column("a token", 4, "what a token more goes with"),
    ]
    text = (
        "The change of each text is regressed on the change of its length, both against the reference's text about the "
        "same brief. What goes with length is the slope times the mean change of length; the rest is the gain at the "
        "same length. This is association: length may bring the gain, or come with it. Intervals are over runs and "
        "briefs, or over texts alone where a design has one run."
    )
    return Section("length", "How much of the gain is length", [text], [Table("Gains and length.", columns, rows)])


def _row(bench: Bench, arm: Arm, column: str, label: str, seed: int) -> list[Cell | Interval] | None:
    both = ("length", column)
    known = [run for run in arm.runs if all(bench.changed(run, name) is not None for name in both)]
    if not known:
        return None
    x, y = (bench.change(Arm(arm.label, tuple(known)), name) for name in both)
    if x is None or y is None or x.values.shape != y.values.shape:
        return None
    parts = explained(x, y, seed)
    gain = parts["gain"].interval
    share = parts["share"].interval if gain is not None and gain.sign else None
    return [arm.label, label, parts["longer"].interval, gain, parts["same"].interval, share, parts["slope"].interval]


def explained(x: Sample, y: Sample, seed: int = 0) -> dict[str, Estimate]:
    """The regression of each run, averaged over runs (interquartile mean), with its bootstrap.

    Args:
        x: changes of length (R, N).
        y: changes of what was gained (R, N).
        seed: of the draws.

    Returns:
        longer: mean x; gain: mean y; slope: b; along: b mean(x); same: a; share: along / gain.
    """
    known = ~np.isnan(x.values) & ~np.isnan(y.values)
    xs, ys = (np.where(known, one.values, 0.0) for one in (x, y))
    sums = np.stack([known, xs, ys, xs * xs, xs * ys])  # (5, R, N)
    every = _line(sums.sum(2))
    by_texts = _line(np.einsum("krn,bn->kbr", sums, text_counts(x.values.shape[1], seed), optimize=True))
    chosen = run_choices(tuple(strata(x).tolist()), seed)
    several = len(x.strata) > 1
    found = {}
    for name, own in every.items():
        value = float(iqm(own))
        draws = value + stretch(x, TEXTS) * (iqm(by_texts[name]) - value)
        if several:
            draws = draws + stretch(x, RUNS) * (iqm(own[chosen]) - value)
        found[name] = Estimate(value, draws, BOTH if several else TEXTS)
    along, gain = found["along"], found["gain"]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(np.divide(along.value, gain.value))
        return found | {"share": Estimate(ratio, along.draws / gain.draws, gain.unit)}


def _line(sums: Float64[np.ndarray, "5 *rows R"]) -> dict[str, Any]:
    """Least squares of each run from its sums: n, x, y, xx, xy."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_x, mean_y, xx, xy = (part / sums[0] for part in sums[1:])
        spread = xx - mean_x**2
        slope = np.where(spread > 1e-12, (xy - mean_x * mean_y) / spread, 0.0)  # equal lengths explain nothing
    along = slope * mean_x
    return {"longer": mean_x, "gain": mean_y, "slope": slope, "along": along, "same": mean_y - along}
