"""The cross-metric matrix: what training on each reward did to every other scorer and to every axis of the truth."""

import re
from collections.abc import Mapping, Sequence

from textgym.reports.blocks import Cell, Column, Interval, Notice, Section, Table
from textgym.reports.rewards.arms import Arm, Bench
from textgym.reports.rewards.bootstrap import BOTH
from textgym.reports.rewards.standings import known, standings
from textgym.reports.rewards.starting import same_columns
from textgym.reports.rewards.wording import DRAWN, listed
from textgym.reports.verdict import REWARD, TRUTH


def matrix(bench: Bench, seed: int) -> Section | None:
    """A row a design, a column a measure; None without a design, or without a reference to hold it against."""
    found = standings(bench, bench.arms("designs"), seed)
    arms = [one.arm for one in found] or bench.arms("designs")
    measures = [name for name in bench.columns() if name.startswith(("gold/", "score/"))]
    measures = [REWARD, *sorted(measures, key=lambda name: (name != TRUTH, not name.startswith("gold/")))]
    if not arms or not bench.references or len(measures) < 2:
        return None
    rows: list[list[Cell | Interval]] = []
    marks: dict[tuple[int, int], str] = {}
    verdicts = {one.arm.label: one.verdict.name for one in found if one.verdict is not None}
    for place, arm in enumerate(arms):
        shifts = [known(bench.shift(arm, name), seed, BOTH) for name in measures]
        rows.append([arm.label, *shifts])
        for column, name in enumerate(measures, 1):
            if word := _role(arm, name):
                marks[place, column] = word
        if verdicts.get(arm.label) == "hacked":
            hacked = measures.index(TRUTH) + 1
            marks[place, hacked] = ", ".join(filter(None, [marks.get((place, hacked)), "hacked"]))
    columns = [Column("trained on"), *(Column(_heading(name), about=_about(name), scaled=True) for name in measures)]
    caption = "Change against the reference, in standard deviations of the reference's texts."
    table = Table(caption, columns, rows, marks, _notes(rows, measures))
    return Section("matrix", "What each reward did to everything else", [_HOW], [*_notices(rows, marks), table])


_HOW = (
    "A row is the reward that was trained on, a column what was measured of the same texts: the reward, the axes "
    "of the truth (gold; higher is better) and other scorers. A cell is the change against the reference of the same "
    "checkpoint, brief by brief, in standard deviations of the reference's texts. With several runs, "
    f"intervals are {DRAWN[BOTH]}; with one, over texts. Hacked: the reward rose and gold quality fell, both "
    "intervals without 0."
)


def _role(arm: Arm, measure: str) -> str:
    """Whether a measure is what was trained on, by its name or by its values, or a part of it."""
    reward = arm.job["reward"]
    written = measure.removeprefix("score/").replace("gold/", "gold.")
    if measure == REWARD or written == reward or all(measure in same_columns(run) for run in arm.runs):
        return "itself"
    return "part of it" if re.search(rf"(?<![\w.]){re.escape(written)}(?!\w)", reward) else ""


def _heading(measure: str) -> str:
    return measure.removeprefix("score/").replace("/", " ")


def _about(measure: str) -> str:
    if measure == REWARD:
        return "what was paid, without the price of KL"
    return "truth, higher is better" if measure.startswith("gold/") else "a scorer"


def _notices(rows: Sequence[Sequence[Cell | Interval]], marks: Mapping[tuple[int, int], str]) -> list[Notice]:
    hacked = [str(rows[place][0]) for (place, _), mark in marks.items() if mark.endswith("hacked")]
    return [Notice("bad", f"Hacked: {listed(hacked)}.")] if hacked else []


def _notes(rows: Sequence[Sequence[Cell | Interval]], measures: Sequence[str]) -> list[str]:
    cells = sum(isinstance(cell, Interval) for row in rows for cell in row)
    notes = [f"If nothing had changed, {0.05 * cells:.0f} of these {cells} intervals would exclude 0 by chance."]
    unpaid = [str(row[0]) for row in rows if row[1 + measures.index(REWARD)] is None]
    if unpaid:
        notes.append(f"What the reference earns by the reward of {listed(unpaid)} is not in the rows.")
    return notes
