"""The whole report about reward designs, from rows alone: summary, analyses, and what is missing."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from textgym.reports.blocks import Block, Cell, Column, Interval, Report, Section, Table
from textgym.reports.rewards.alarms import alarms
from textgym.reports.rewards.arms import Bench, benches
from textgym.reports.rewards.axes import axes
from textgym.reports.rewards.kl_matched import kl_matched
from textgym.reports.rewards.lagrangian import lagrangian
from textgym.reports.rewards.leaderboard import leaderboard
from textgym.reports.rewards.length_share import length_share
from textgym.reports.rewards.matrix import matrix
from textgym.reports.rewards.over_optimisation import over_optimisation
from textgym.reports.rewards.pairs import pairs
from textgym.reports.rewards.pareto import pareto
from textgym.reports.rewards.pinned import pinned
from textgym.reports.rewards.proxies import proxies
from textgym.reports.rewards.runs import Runs, load
from textgym.reports.rewards.summary import summary
from textgym.reports.rewards.traces import curves
from textgym.reports.rewards.variants import delivery, gamma, kl_place, normalisation
from textgym.reports.rewards.wording import counted

TITLE = "Which reward should I use?"

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""How cells begin that a spreadsheet takes for more than text."""

Analysis = Callable[[Bench, int], Section | None]

ANALYSES: Mapping[Analysis, str] = {
    leaderboard: "A leaderboard needs runs of designs whose gold quality is known.",
    alarms: "Alarms need runs of designs and the reference of their checkpoint.",
    pairs: "Differences need two designs.",
    matrix: "The matrix needs runs of designs, their reference, and what other scorers say of their texts.",
    kl_matched: "A comparison at the same KL needs runs with several betas, six at least (experiment kl).",
    over_optimisation: "A law of over-optimisation needs four evaluations at different KL of the same reward.",
    proxies: "No reward was learned (experiments proxies and sentiment).",
    gamma: "Discounts were not varied (experiment gamma).",
    delivery: "Deliveries were not varied (experiment delivery).",
    kl_place: "The place of the KL was not varied (experiment kl_place).",
    normalisation: "The scaling of advantages was not varied (experiment normalisation).",
    length_share: "The share of length needs runs of designs and the reference of their checkpoint.",
    pareto: "A front needs two compositions (experiment composition).",
    lagrangian: "No price of a constraint was learned (experiment lagrangian).",
    axes: "Axes of the truth need a world that knows them.",
    curves: "No run kept a learning curve.",
    pinned: "No row holds texts of pinned briefs.",
}
"""In the order of the page; and what is said where the rows do not hold what an analysis needs."""


def rewards_report(rows: Iterable[Mapping[str, Any]], *, seed: int = 0) -> Report:
    """Everything that the rows of a benchmark say, the same for the same rows and seed.

    Args:
        rows: as `textgym.reports.results.read_rows` gives them.
        seed: of all intervals.

    Raises:
        TaskError: a row that is none, with its number.
    """
    runs = load(rows)
    found = benches(runs)
    sections, missing, said = list[Section](), list[str](), list[str]()
    for place, bench in enumerate(found):
        several = len(found) > 1
        said += summary(bench, seed, named=several)
        for analysis, without in ANALYSES.items():
            section = analysis(bench, seed)
            if section is None and place and not bench.arms("designs"):
                continue  # a further task is there for what it has
            if section is None:
                missing.append(f"{bench.task}: {without}" if several else without)
                continue
            anchor = _anchor(section.name, bench.task, place)
            title = f"{section.title} on {bench.task}" if several else section.title
            sections.append(replace(section, name=anchor, title=title))
    said += _failures(runs)
    sections.append(_missing(runs, found, missing))
    return Report(TITLE, said or ["These rows hold no finished run of a design."], sections, _facts(runs, found, seed))


def tables_csv(report: Report) -> dict[str, str]:
    """Every table of a report as comma-separated values, by the name of its section, numbered where it has several.

    An interval takes three columns: the estimate, its lower and its upper end; marks stand in a column of their own.
    """
    files = {}
    for section in report.sections:
        tables = [block for block in section.blocks if isinstance(block, Table)]
        for number, table in enumerate(tables, 1):
            files[section.name if number == 1 else f"{section.name}-{number}"] = _csv(table)
    return files


def _anchor(name: str, task: str, place: int) -> str:
    """A section's name; of a further task, with the task and a letter for its place: a name may be of any script."""
    if place == 0:
        return name
    letters = re.sub("[^a-z]+", "-", task.lower()).strip("-")
    return "-".join(part for part in (name, letters, "abcdefghijklmnopqrstuvwxyz"[place % 26]) if part)


def _failures(runs: Runs) -> list[str]:
    if not runs.failed:
        return []
    jobs = counted(len(runs.failed), "job")
    return [
        f"{jobs} failed and {'is' if len(runs.failed) == 1 else 'are'} missing here: the last section has the messages."
    ]


def _missing(runs: Runs, found: Sequence[Bench], missing: Sequence[str]) -> Section:
    """What would be here if the rows held more."""
    text = [*missing]
    for bench in found:
        if bench.left_out:
            left = counted(bench.left_out, "run was", "runs were")
            text.append(f"{bench.task}: {left} left out, evaluated on another number of briefs than {bench.prompts}.")
    if len(runs.versions) > 1:
        text.append("The rows were made with several sets of versions, and may differ by them.")
    return Section("missing", "What these rows do not hold", text or ["Nothing is missing."], _failed(runs))


def _failed(runs: Runs) -> list[Block]:
    rows: list[list[Cell | Interval]] = [
        [job["design"], job["experiment"], job["checkpoint"], job["seed"], message] for job, message in runs.failed
    ]
    columns = [
        Column("design"),
        Column("experiment"),
        Column("checkpoint", 0),
        Column("seed", 0),
        Column("what happened"),
    ]
    return [Table("Jobs that failed.", columns, rows)] if rows else []


def _facts(runs: Runs, found: Sequence[Bench], seed: int) -> dict[str, str]:
    jobs = sorted(json.dumps(run.job, sort_keys=True) for run in runs.finished)
    told = {
        "tasks": ", ".join(bench.task for bench in found),
        "finished jobs": f"{len(runs.finished):,}",
        "failed jobs": f"{len(runs.failed):,}",
        "held-out briefs": ", ".join(str(bench.prompts) for bench in found),
        "agents": ", ".join(sorted({str(run.job.get("agent")) for run in runs.finished if run.job.get("agent")})),
        "configuration hash": hashlib.sha256("\n".join(jobs).encode()).hexdigest()[:16],
        "seed of intervals": str(seed),
    }
    for place, versions in enumerate(runs.versions, 1):
        label = "versions" if len(runs.versions) == 1 else f"versions, set {place}"
        told[label] = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return {name: value for name, value in told.items() if value}


def _csv(table: Table) -> str:
    marked = sorted({column for _, column in table.marks})
    ends = {place for place in range(len(table.columns)) if any(isinstance(row[place], Interval) for row in table.rows)}
    head: list[str] = []
    for place, column in enumerate(table.columns):
        head += [column.name, *([f"{column.name} low", f"{column.name} high"] if place in ends else [])]
        head += [f"{column.name} mark"] if place in marked else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_harmless(name) for name in head])
    for number, row in enumerate(table.rows):
        cells: list[Cell] = []
        for place, cell in enumerate(row):
            cells += [cell.value, cell.low, cell.high] if isinstance(cell, Interval) else [cell]
            cells += ["", ""] if place in ends and not isinstance(cell, Interval) else []
            cells += [table.marks.get((number, place), "")] if place in marked else []
        writer.writerow([_harmless(cell) for cell in cells])
    return text.getvalue()


def _harmless(cell: Cell) -> Cell:
    """A text that a spreadsheet would compute begins with an apostrophe, which says that it is text."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULAS) else cell
