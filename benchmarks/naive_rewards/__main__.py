"""Measures, or shows what was measured, as a table in Markdown."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from textgym.benchmarks.naive_rewards.measure import Plan, rows

from textgym.errors import TextGymError
from textgym.text.store import write_atomic

COLUMNS = {
    "length": ("tokens", 1.0, 0),
    "grammar": ("unparsable", -1.0, 3),
    "coherence": ("contradictions", -1.0, 3),
    "faithfulness": ("unfaithful", -1.0, 3),
    "novelty": ("redundant", -1.0, 3),
    "information": ("reader accuracy", 1.0, 3),
    "changes": ("changes", 1.0, 1),
    "fluency": ("log p", 1.0, 2),
    "rep-4": ("rep-4", 1.0, 2),
    "distinct-2": ("distinct-2", 1.0, 2),
    "types": ("types", 1.0, 2),
    "quality": ("gold", 1.0, 3),
}
"""Fact: label, sign (-1: what is missing to 1), digits."""


def main(
    out: Annotated[Path, typer.Option(help="JSON Lines file of the rows.")] = Path("naive_rewards.jsonl"),
    model: Annotated[str, typer.Option(help="Checkpoint, by folder or name.")] = Plan.model,
    task: Annotated[str, typer.Option(help="Story world.")] = Plan.task,
    prompts: Annotated[int, typer.Option(min=2, help="Held-out briefs.")] = Plan.prompts,
    n: Annotated[int, typer.Option(min=2, help="Completions of each.")] = Plan.n,
    seed: Annotated[int, typer.Option(help="Of sampling.")] = Plan.seed,
    show: Annotated[Path | None, typer.Option(help="No measurement: the table of these rows.")] = None,
) -> None:
    """What each naive reward does to stories, by best-of-n."""
    try:
        if show is None:
            found = list(rows(Plan(model, task, prompts, n, seed)))
            write_atomic(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found).encode())
    except TextGymError as error:
        raise typer.BadParameter(str(error)) from error
    print(table([json.loads(line) for line in (show or out).read_text(encoding="utf-8").splitlines()]))


def table(found: list[dict[str, Any]]) -> str:
    """The rows as a table in Markdown; gold with its 95% interval."""
    head = ["", *(label for label, _, _ in COLUMNS.values())]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in found:
        cells = [row["name"]]
        for fact, (_, sign, digits) in COLUMNS.items():
            mean, low, high = (1 - end if sign < 0 else end for end in row["measured"][fact])
            cells.append(
                f"{mean:.{digits}f}" + (f" [{low:.{digits}f}, {high:.{digits}f}]" if fact == "quality" else "")
            )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
