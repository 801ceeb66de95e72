"""Measures, or shows what was measured: tables in Markdown, and a picture beside the rows."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from textgym.benchmarks.oracle import credit, estimators, regret
from textgym.benchmarks.oracle.picture import draw
from textgym.benchmarks.oracle.report import report
from textgym.benchmarks.oracle.unit import Unit
from textgym.benchmarks.speed.rows import append, key, latest, read

from textgym.errors import TextGymError, UnknownNameError

EXPERIMENTS = {"estimators": estimators, "regret": regret, "credit": credit}


def main(
    experiment: Annotated[str | None, typer.Argument(help=f"one of {', '.join(EXPERIMENTS)}; all without")] = None,
    out: Annotated[Path, typer.Option(help="JSON Lines file; what it holds already is not measured again")] = Path(
        "oracle.jsonl"
    ),
    only: Annotated[str, typer.Option(help="cases whose name has this in it")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="a little of everything: does it run?")] = False,
    minutes: Annotated[float, typer.Option(help="begin nothing after so long; the next call goes on")] = float("inf"),
    show: Annotated[Path | None, typer.Option(help="no measurement: tables and picture of these rows")] = None,
) -> None:
    """Agents beside exact answers."""
    try:
        if show is None:
            measure(units(experiment, quick), out, only, minutes)
        rows = latest(read(show or out))
        draw(rows, (show or out).with_suffix(".png"))
    except TextGymError as error:
        raise typer.BadParameter(str(error)) from error
    print(report(rows))


def units(experiment: str | None, quick: bool) -> list[Unit]:
    """The pieces of work of one experiment, or of all.

    Raises:
        UnknownNameError: no such experiment.
    """
    if experiment is not None and experiment not in EXPERIMENTS:
        raise UnknownNameError("experiment", experiment, EXPERIMENTS)
    chosen = [experiment] if experiment else list(EXPERIMENTS)
    found: list[Unit] = []
    for module in (EXPERIMENTS[name] for name in chosen):
        found += module.units(module.QUICK if quick else module.Plan())
    return found


def measure(work: list[Unit], out: Path, only: str = "", minutes: float = float("inf")) -> None:
    """Does what the file does not hold yet; rows are saved piece by piece.

    Raises:
        TaskError: a file that holds other things than rows.
    """
    console, began = Console(stderr=True), time.monotonic()
    done = {key(row) for row in read(out)} if out.exists() else set()
    for unit in work:
        if only not in unit.case or unit.key in done:
            continue
        if time.monotonic() - began > 60 * minutes:
            console.print("time is up; the same command goes on from here")
            return
        console.print(f"{unit.experiment} · {unit.case} · turn {unit.turn}")
        append(out, unit.run())


if __name__ == "__main__":
    typer.run(main)
