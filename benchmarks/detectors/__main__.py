"""Measures, or shows what was measured, as tables in Markdown."""

import json
from pathlib import Path
from typing import Annotated

import typer
from textgym.benchmarks.detectors.measure import Row, rows

from textgym.errors import TextGymError
from textgym.text.store import write_atomic


def main(
    out: Annotated[Path, typer.Option(help="JSON Lines file of the rows.")] = Path("detectors.jsonl"),
    show: Annotated[Path | None, typer.Option(help="No measurement: the tables of these rows.")] = None,
) -> None:
    """Who notices that a reward is broken?"""
    try:
        if show is None:
            found = list(rows())
            write_atomic(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found).encode())
    except TextGymError as error:
        raise typer.BadParameter(str(error)) from error
    found = [json.loads(line) for line in (show or out).read_text(encoding="utf-8").splitlines()]
    print(summary(found))
    for kind in ("rewards", "traces"):
        print()
        print(table([row for row in found if row["kind"] == kind]))


def summary(found: list[Row]) -> str:
    """Hits and false alarms of each detector, among the cases that it applies to."""
    lines = ["| detector | on | hits | false alarms |", "|---|---|---|---|"]
    for kind, detector in dict.fromkeys((row["kind"], row["detector"]) for row in found):
        own = [row for row in found if (row["kind"], row["detector"]) == (kind, detector) and row["found"] is not None]
        faulty, sound = ([row["found"] for row in own if row["faulty"] is truth] for truth in (True, False))
        cells = [f"{sum(side)} of {len(side)}" if side else "not run" for side in (faulty, sound)]
        lines.append(f"| {detector} | {kind} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def table(found: list[Row]) -> str:
    """A line for each case, a column for each detector."""
    detectors = list(dict.fromkeys(row["detector"] for row in found))
    lines = ["| " + " | ".join(["case", "broken", *detectors]) + " |", "|" + "---|" * (len(detectors) + 2)]
    for case in dict.fromkeys(row["case"] for row in found):
        own = {row["detector"]: row for row in found if row["case"] == case}
        marks = [{True: "found", False: "", None: "-"}[own[detector]["found"]] for detector in detectors]
        broken = "yes" if own[detectors[0]]["faulty"] else "no"
        lines.append("| " + " | ".join([case.replace("|", "\\|"), broken, *marks]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
