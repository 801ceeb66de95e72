"""Runs the benchmark: rows to a JSON Lines file; tables and a picture made from those rows."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from textgym.benchmarks.speed.experiments import EXPERIMENTS
from textgym.benchmarks.speed.picture import draw
from textgym.benchmarks.speed.plan import QUICK, Plan
from textgym.benchmarks.speed.report import report
from textgym.benchmarks.speed.rows import append, key, latest, read

from textgym.errors import TextGymError, UnknownNameError


def main(
    out: Annotated[Path, typer.Option(help="JSON Lines file; what it holds already is not measured again")] = Path(
        "speed.jsonl"
    ),
    only: Annotated[list[str] | None, typer.Option(help=f"one of {', '.join(EXPERIMENTS)}; may be repeated")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="one short turn of everything: does it run?")] = False,
    repeats: Annotated[int | None, typer.Option(min=1, help="turns")] = None,
    threads: Annotated[int, typer.Option(min=1, help="of torch")] = 2,
    show: Annotated[Path | None, typer.Option(help="no measurement: tables and picture of these rows")] = None,
) -> None:
    """Measures speed and memory, or shows what was measured."""
    try:
        if show is None:
            plan = (QUICK if quick else Plan()).with_threads(threads)
            measure(plan if repeats is None else replace(plan, repeats=repeats), out, only or list(EXPERIMENTS))
        shown = out if show is None else show
        rows = latest(read(shown))
        draw(rows, shown.with_suffix(".png"))
    except TextGymError as error:
        raise typer.BadParameter(str(error)) from error
    Console().print(report(rows))


def measure(plan: Plan, out: Path, names: list[str], console: Console | None = None) -> None:
    """Measures every unit of the named experiments that the file does not hold yet; rows are saved unit by unit.

    Args:
        plan: how much.
        out: the file; what was measured before with the same settings, versions and code is kept.
        names: of experiments.
        console: is told what runs.

    Raises:
        UnknownNameError: no experiment has that name.
        TaskError: a file that holds other things than rows.
    """
    for name in names:
        if name not in EXPERIMENTS:
            raise UnknownNameError("experiment", name, EXPERIMENTS)
    console = console or Console(stderr=True)
    done = {key(row) for row in read(out)} if out.exists() else set()
    for name in names:
        for turn in range(plan.repeats):
            for unit in EXPERIMENTS[name](plan):
                if unit.key(turn) in done:
                    continue
                console.print(f"{name} · {unit.case} · turn {turn + 1} of {plan.repeats}")
                append(out, unit.run(turn))


if __name__ == "__main__":
    typer.run(main)
