"""Measures, or shows what was measured."""

from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from textgym.benchmarks.speed.rows import Row, append, latest, read
from textgym.benchmarks.story_world.measure import Plan, rows

from textgym.errors import TextGymError

ASKED = {("small", "fluency"): 20_000, ("small", "filter"): 3_000}
"""Stories a CPU-second that a part has to reach."""


def main(
    out: Annotated[Path, typer.Option(help="JSON Lines file; rows are added to it")] = Path("story_world.jsonl"),
    stories: Annotated[int, typer.Option(min=1, help="in a batch")] = Plan.stories,
    repeats: Annotated[int, typer.Option(min=1, help="turns")] = Plan.repeats,
    show: Annotated[Path | None, typer.Option(help="no measurement: the table of these rows")] = None,
) -> None:
    """Measures how fast the truth of stories is found, or shows what was measured."""
    try:
        if show is None:
            plan = replace(Plan(), stories=stories, repeats=repeats)
            for turn in range(repeats):
                for preset in ("small", "base"):
                    append(out, rows(plan, preset, turn))
        found = latest(read(out if show is None else show))
    except TextGymError as error:
        raise typer.BadParameter(str(error)) from error
    Console().print(table(found))


def table(found: list[Row]) -> Table:
    """A line for each part of each preset: medians, lowest to highest turn."""
    made = Table("preset", "part", "median", "min", "max", "asked", "us a token", title="Stories a CPU-second")
    for case, name in dict.fromkeys((row["case"], row["name"]) for row in found):
        own = [row["measured"] for row in found if (row["case"], row["name"]) == (case, name)]
        rate, cost = ([row[figure] for row in own] for figure in ("stories_per_second", "microseconds_per_token"))
        asked = ASKED.get((case, name))
        made.add_row(
            case,
            name,
            *(f"{figure(rate):,.0f}" for figure in (median, min, max)),
            f"{asked:,}" if asked else "",
            f"{median(cost):.2f}",
        )
    return made


if __name__ == "__main__":
    typer.run(main)
