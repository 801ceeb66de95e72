"""Learned rewards: how well each agrees with the truth, by how much it was fitted on."""

import math

from textgym.reports.blocks import Cell, Column, Interval, Section, Table
from textgym.reports.rewards.arms import Bench
from textgym.reports.rewards.runs import Run

EXPERIMENTS = ("proxies", "sentiment")
"""Jobs of others fit language models and the like."""


def proxies(bench: Bench, seed: int) -> Section | None:
    """A row a fitted reward; None where none was fitted."""
    fits = [run for run in bench.runs if run.job["kind"] == "fit" and run.job["experiment"] in EXPERIMENTS]
    if not fits:
        return None
    varied = list(dict.fromkeys(name for run in fits for name in run.job["variant"]))
    facts = list(dict.fromkeys(name for run in fits for name in run.facts if any(_number(one, name) for one in fits)))
    rows: list[list[Cell | Interval]] = [
        [
            run.job["design"],
            *(_cell(run.job["variant"].get(name)) for name in varied),
            *(float(run.facts[name]) if _number(run, name) else None for name in facts),
        ]
        for run in fits
    ]
    columns = [Column("reward"), *(Column(name, 0) for name in varied), *(Column(name, 3) for name in facts)]
    text = "Rewards that were learned from pairs or labels, and what is known of them before anything trained on them."
    return Section("proxies", "Learned rewards", [text], [Table("Learned rewards.", columns, rows)])


def _number(run: Run, name: str) -> bool:
    value = run.facts.get(name)
    return isinstance(value, int | float) and math.isfinite(value)


def _cell(value: object) -> Cell:
    return value if isinstance(value, str | float | int) or value is None else str(value)
