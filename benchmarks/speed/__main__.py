"""Runs the benchmark: rows to a JSON Lines file, and a table made from those rows."""

import json
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from textgym.benchmarks.speed import measure
from textgym.benchmarks.speed.setting import Setting

from textgym.runs.config import versions

UNITS = ("tokens_per_second", "rollout_tokens_per_second", "training_tokens_per_second", "transitions_per_cpu_second")


def main(
    out: Annotated[Path, typer.Option(help="JSON Lines file; rows are appended")] = Path("speed.jsonl"),
    repeats: Annotated[int, typer.Option(min=1, help="how often the sides take turns")] = 3,
    iterations: Annotated[int, typer.Option(min=1, help="PPO iterations of 4,096 tokens a turn")] = 4,
) -> None:
    """Measures setting A."""
    setting = Setting()
    torch.set_num_threads(setting.threads)
    rows: list[dict[str, Any]] = []
    common = {"setting": asdict(setting), "versions": versions()}
    with out.open("a", encoding="utf-8") as file:
        for turn in range(repeats):
            for name, measured in (
                ("textgym PPO", measure.textgym_ppo(setting, iterations)),
                ("obvious PPO", measure.obvious_ppo(setting, steps=16)),
                ("vector environment", measure.vector_environment(setting, 2**20)),
                ("single environment", measure.single_environment(setting, 2**16)),
            ):
                rows.append({"name": name, "turn": turn, **measured, **common})
                file.write(json.dumps(rows[-1]) + "\n")
                file.flush()
    Console().print(table(rows))


def table(rows: list[dict[str, Any]]) -> Table:
    """Medians over the turns, and the ratio of the two PPO runs turn by turn."""
    made = Table("what", "unit", "median", "min", "max", title="Setting A")
    for name in dict.fromkeys(row["name"] for row in rows):
        for unit in UNITS:
            values = [row[unit] for row in rows if row["name"] == name and unit in row]
            if values:
                made.add_row(name, unit.replace("_", " "), *(f"{f(values):,.0f}" for f in (median, min, max)))
    pairs = zip(
        *([r[UNITS[0]] for r in rows if r["name"] == f"{side} PPO"] for side in ("textgym", "obvious")), strict=True
    )
    ratios = [ours / theirs for ours, theirs in pairs]
    made.add_row("textgym / obvious", "ratio", *(f"{f(ratios):,.1f}" for f in (median, min, max)))
    return made


if __name__ == "__main__":
    typer.run(main)
