"""Learned rewards: how well each agrees with the truth, by how much it was fitted on."""

import math
from collections.abc import Sequence

from textgym.reports.blocks import Cell, Column, Interval, Section, Table
from textgym.reports.rewards.arms import Bench
from textgym.reports.rewards.runs import Run

EXPERIMENTS = ("proxies", "sentiment")
"""Jobs of others fit language models and the like."""

ENDS = (", low", ", high")
"""Behind the name of a fact, its interval."""


def proxies(bench: Bench, seed: int) -> Section | None:
    """A row a fitted reward; None where none was fitted."""
    fits = [run for run in bench.runs if run.job["kind"] == "fit" and run.job["experiment"] in EXPERIMENTS]
    if not fits:
        return None
    varied = list(dict.fromkeys(name for run in fits for name in run.job["variant"]))
    facts = list(dict.fromkeys(name for run in fits for name in run.facts if any(_number(one, name) for one in fits)))
    facts = [name for name in facts if not name.endswith(ENDS)]
    rows: list[list[Cell | Interval]] = [
        [
            run.job["design"],
            *(_cell(run.job["variant"].get(name)) for name in varied),
            *(_fact(run, name) for name in facts),
        ]
        for run in fits
    ]
    columns = [Column("reward"), *(Column(name, 0) for name in varied)]
    columns += [Column(name, 0 if _counts(fits, name) else 3) for name in facts]
    text = "Rewards that were learned from pairs or labels, and what is known of them before anything trained on them."
    return Section("proxies", "Learned rewards", [text], [Table("Learned rewards.", columns, rows)])


def _fact(run: Run, name: str) -> Cell | Interval:
    """A figure, with its interval where the facts hold both ends of one."""
    if not _number(run, name):
        return None
    ends = [name + end for end in ENDS]
    if not all(_number(run, end) for end in ends):
        return float(run.facts[name])
    return Interval(float(run.facts[name]), *(float(run.facts[end]) for end in ends))


def _counts(fits: Sequence[Run], name: str) -> bool:
    return all(isinstance(run.facts[name], int) for run in fits if _number(run, name))


def _number(run: Run, name: str) -> bool:
    value = run.facts.get(name)
    return isinstance(value, int | float) and math.isfinite(value)


def _cell(value: object) -> Cell:
    return value if isinstance(value, str | float | int) or value is None else str(value)
