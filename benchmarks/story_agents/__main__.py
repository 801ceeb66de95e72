"""Measures, or shows what was measured: tables in Markdown, and a picture beside the rows."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from textgym.benchmarks.speed.rows import append, key, latest, read
from textgym.benchmarks.story_agents.measure import EXPERIMENTS, units
from textgym.benchmarks.story_agents.picture import draw
from textgym.benchmarks.story_agents.plan import QUICK, Plan
from textgym.benchmarks.story_agents.report import report

from textgym.errors import TextGymError, UnknownNameError


def main(
    experiment: Annotated[str | None, typer.Argument(help=f"one of {', '.join(EXPERIMENTS)}; all without")] = None,
    out: Annotated[Path, typer.Option(help="JSON Lines file; what it holds already is not measured again")] = Path(
        "story_agents.jsonl"
    ),
    only: Annotated[str, typer.Option(help="cases whose name has this in it")] = "",
    tokens: Annotated[int, typer.Option(min=1, help="of a run on gold")] = Plan.tokens,
    seeds: Annotated[int, typer.Option(min=1, help="runs of each agent on gold")] = Plan.seeds,
    quick: Annotated[bool, typer.Option("--quick", help="a little of everything: does it run?")] = False,
    minutes: Annotated[float, typer.Option(help="begin nothing after so long; the next call goes on")] = float("inf"),
    show: Annotated[Path | None, typer.Option(help="no measurement: tables and picture of these rows")] = None,
) -> None:
    """What agents make of stories."""
    try:
        if show is None:
            measure(QUICK if quick else Plan(tokens=tokens, seeds=seeds), experiment, out, only, minutes)
        rows = latest(read(show or out))
        draw(rows, (show or out).with_suffix(".png"))
    except TextGymError as error:
        raise typer.BadParameter(str(error)) from error
    print(report(rows))


def measure(plan: Plan, experiment: str | None, out: Path, only: str = "", minutes: float = float("inf")) -> None:
    """Does what the file does not hold yet; the rows of a run are saved together, when it has ended.

    Raises:
        UnknownNameError: no such experiment.
        TaskError: a file that holds other things than rows.
    """
    if experiment is not None and experiment not in EXPERIMENTS:
        raise UnknownNameError("experiment", experiment, EXPERIMENTS)
    console, began = Console(stderr=True), time.monotonic()
    done = {key(row) for row in read(out)} if out.exists() else set()
    for name in [experiment] if experiment else EXPERIMENTS:
        for unit in units(plan, name):
            if only not in unit.case or unit.key in done:
                continue
            if time.monotonic() - began > 60 * minutes:
                console.print("time is up; the same command goes on from here")
                return
            console.print(f"{name} · {unit.case} · seed {unit.turn}")
            append(out, unit.run())


if __name__ == "__main__":
    typer.run(main)
