"""`textgym report`: the page of a benchmark's results, from its rows alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textgym.cli import options
from textgym.cli.options import OUTPUT
from textgym.cli.terminal import print_json, stdout, visible
from textgym.errors import TaskError

if TYPE_CHECKING:
    from textgym.reports.blocks import Report

PAGE, TABLES = "report.html", "tables"
"""What a report is beside its rows: a page, and a folder with each table as CSV."""


def report(
    folders: Annotated[list[Path], typer.Argument(help="Results of textgym bench; several are merged.", metavar="DIR")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the report; of several, their rows are brought together in it.",
            metavar="DIR",
            show_default="DIR, if there is one",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Make the report of results anew: one page, its tables as CSV, and what it comes to in a few sentences.

    Rows of several machines, or of several days, make one report.
    With --json one object: title, summary, facts, page, tables.
    """
    from textgym.reports.results import merge

    into = out or folders[0]
    if len(folders) > 1 and out is None:
        raise TaskError(f"rows of {len(folders)} folders make a report of their own: say where, --out DIR")
    if into.suffix in (".html", ".csv", ".jsonl"):
        raise TaskError(f"--out {into}: name a folder; the page is {PAGE} in it")
    if len(folders) > 1:
        merge(folders, into)
    show(save_report(into if len(folders) > 1 else folders[0], into), into, json=json)


def save_report(rows: Path, into: Path) -> "Report":
    """Writes page and tables, each whole or not at all, and takes away tables of an earlier report.

    Args:
        rows: folder of the rows.
        into: folder of the report; made if absent.

    Returns:
        What the page says.
    """
    from textgym.reports.page import page
    from textgym.reports.results import read_rows
    from textgym.reports.rewards.report import rewards_report, tables_csv
    from textgym.text.store import write_atomic

    made = rewards_report(read_rows(rows))
    tables = {f"{name}.csv": text for name, text in tables_csv(made).items()}
    (into / TABLES).mkdir(parents=True, exist_ok=True)
    for name, text in tables.items():
        write_atomic(into / TABLES / name, text.encode())
    for earlier in (into / TABLES).glob("*.csv"):
        if earlier.name not in tables:
            earlier.unlink()
    write_atomic(into / PAGE, page(made).encode())
    return made


def show(report: "Report", folder: Path, *, json: bool) -> None:
    """Prints what a report comes to and where it is."""
    if json:
        print_json(
            {
                "title": report.title,
                "summary": list(report.summary),
                "facts": dict(report.facts),
                "page": str(folder / PAGE),
                "tables": sorted(str(path) for path in (folder / TABLES).glob("*.csv")),
            },
            indent=2,
        )
        return
    from rich.table import Table
    from rich.text import Text

    from textgym.cli.tables import print_facts

    console, table = stdout(), Table.grid(padding=(0, 1), pad_edge=False)
    console.print(Text(visible(report.title), style="bold"))
    for sentence in report.summary:
        table.add_row("·", Text(visible(sentence)))
    console.print(table)
    console.print()
    print_facts(console, [("saved", f"{folder}  ({PAGE}, {TABLES}/)")])
