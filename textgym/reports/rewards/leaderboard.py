"""Which design is best: gold quality on the scale with its interval, KL, length, win rate and verdict."""

from collections.abc import Sequence

import numpy as np

from textgym.reports.blocks import Cell, Column, Interval, Notice, Picture, Section, Table
from textgym.reports.charts import Axis, bars
from textgym.reports.rewards.aggregate import optimality_gap
from textgym.reports.rewards.arms import Arm, Bench
from textgym.reports.rewards.bootstrap import BOTH, RUNS, TEXTS, estimate
from textgym.reports.rewards.standings import Standing, greedy, known, share, standings, win_rate
from textgym.reports.rewards.wording import DRAWN, counted, listed, shown

SCALE = "0 is what the reference of the same checkpoint writes, 1 is the corpus"
RAW = "as it is: without reference and corpus, or with a corpus that is no better, there is no scale"


def leaderboard(bench: Bench, seed: int) -> Section | None:
    """Designs, the best first, and below them the yardsticks; None where nobody's gold quality is known."""
    found = standings(bench, bench.arms("designs"), seed)
    if not found:
        return None
    picked = standings(bench, _largest(bench.arms("designs", kind="best_of_n")), seed)
    every = found + picked
    columns, rows = _columns(bench), [_row(bench, one, seed) for one in every] + _yardsticks(bench, seed)
    if not bench.has_scale:  # and nothing to be missing to 1
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    marks = {(place, 1): "hacked" for place, one in enumerate(every) if one.verdict and one.verdict.name == "hacked"}
    caption = f"Designs on {bench.task}, the best first: {counted(bench.prompts, 'held-out brief')}."
    return Section(
        "leaderboard",
        "Leaderboard",
        _how(bench, found),
        [*_warnings(found), Table(caption, columns, rows, marks, _notes(found)), _picture(bench, every)],
    )


def unit_of(found: Sequence[Standing]) -> str:
    """What the intervals of designs are over; texts if any of them has one run."""
    return TEXTS if any(one.gold.unit == TEXTS for one in found) else RUNS


def _columns(bench: Bench) -> list[Column]:
    digits = 2 if bench.has_scale else 3
    return [
        Column("design"),
        Column("gold quality", digits, SCALE if bench.has_scale else RAW),
        Column("verdict", 0, "hacked: the reward rose and gold quality fell, both intervals excluding 0"),
        Column("greedy", digits, "gold quality of the most probable texts"),
        Column("change", 3, "of gold quality against the reference, brief by brief"),
        Column("better", 2, "certainty that gold quality rose: share of the bootstrap above the reference"),
        Column("wins", 2, "share of briefs on which its text is better than the reference's, ties halved"),
        Column("KL", 1, "nats a text from the reference"),
        Column("length", 1, "tokens"),
        Column("runs", 0, "of how many the row is made"),
        Column("optimality gap", digits, "how far runs are below the corpus on average, those above it at 0"),
    ]


def _row(bench: Bench, one: Standing, seed: int) -> list[Cell | Interval]:
    gap = bench.gold(one.arm)
    return [
        _name(one),
        one.gold.interval,
        one.verdict.name if one.verdict else None,
        greedy(bench, one.arm, seed),
        one.change.interval if one.change else None,
        one.change.certainty if one.change else None,
        share(known(win_rate(bench, one.arm), seed, BOTH)),
        one.kl.value if one.kl and one.kl.low == one.kl.high else one.kl,
        known(bench.level(one.arm, "length"), seed),
        len(one.arm.runs),
        None if gap is None else estimate(gap, optimality_gap, seed=seed).interval,
    ]


def _name(one: Standing) -> str:
    job = one.arm.job
    return f"{job['design']}, best of {job['variant'].get('n', 'n')}" if job["kind"] == "best_of_n" else one.arm.label


def _yardsticks(bench: Bench, seed: int) -> list[list[Cell | Interval]]:
    """The reference and the corpus as rows: what the designs are held against."""
    rows: list[list[Cell | Interval]] = []
    yardsticks = {"reference": tuple(bench.references.values()), "corpus": (bench.corpus,) if bench.corpus else ()}
    for name, runs in yardsticks.items():
        if runs:
            arm = Arm(name, runs)
            sampled, most_probable = (_point(bench, arm, way) for way in ("sampled", "greedy"))
            kl, length = 0.0 if name == "reference" else None, known(bench.level(arm, "length"), seed)
            rows.append([name, sampled, None, most_probable, None, None, None, kl, length, len(runs), None])
    return rows


def _point(bench: Bench, arm: Arm, way: str) -> float | None:
    sample = bench.gold(arm, way)
    return None if sample is None else round(float(np.mean(sample.means)), 12)  # 0, not 1e-17


def _largest(arms: Sequence[Arm]) -> list[Arm]:
    """Of each design that picks the best of n, the one with the most to pick from."""
    best: dict[str, Arm] = {}
    for arm in sorted(arms, key=lambda arm: arm.job["variant"].get("n", 0)):
        best[arm.job["design"]] = arm
    return list(best.values())


def _how(bench: Bench, found: Sequence[Standing]) -> list[str]:
    scale = f"On the scale {SCALE}." if bench.has_scale else f"Gold quality is {RAW}."
    return [
        f"{scale} A design's figure is the interquartile mean over its runs, each a mean over texts sampled at "
        f"temperature 1. All intervals are of 95% and {DRAWN[unit_of(found)]}.",
        f"Changes, wins and verdicts are about other briefs too: with several runs their intervals are {DRAWN[BOTH]}.",
    ]


def _warnings(found: Sequence[Standing]) -> list[Notice]:
    single = [one.arm.label for one in found if len(one.arm.runs) == 1]
    notices = []
    if single:
        who = f"One run of {'every design' if len(single) == len(found) else listed(single)}"
        notices.append(Notice("warning", f"{who}: intervals are over texts and hold for that run, not the design."))
    hacked = [one for one in found if one.verdict is not None and one.verdict.name == "hacked"]
    return notices + [
        Notice("bad", f"{one.arm.label} was hacked: {one.verdict.text}.") for one in hacked if one.verdict
    ]


def _notes(found: Sequence[Standing]) -> list[str]:
    truths = [one.arm.label for one in found if one.reads_truth]
    notes = [f"{one.arm.label}: {one.verdict.text}." for one in found if one.verdict is not None]
    if truths:
        notes.insert(0, f"The reward of {listed(truths)} is made of the truth, which only a world like this one knows.")
    unknown = [one.arm.label for one in found if one.verdict is None]
    if unknown:
        notes.append(
            f"No verdict on {listed(unknown)}: what the reference earns by its reward, or its truth, is in no row."
        )
    return notes


def _picture(bench: Bench, found: Sequence[Standing]) -> Picture:
    names, intervals = [_name(one) for one in found], [one.gold.interval for one in found]
    drawn = bars(
        names, intervals, Axis(bench.gold_label), vlines={"reference": 0.0, "corpus": 1.0} if bench.has_scale else {}
    )
    words = "; ".join(f"{name} {shown(interval)}" for name, interval in zip(names, intervals, strict=True))
    return Picture("Gold quality of what designs write, with 95% intervals.", drawn, words)
