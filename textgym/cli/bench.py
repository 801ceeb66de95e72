"""`textgym bench`: designs of rewards, side by side, held against the truth."""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from textgym import __version__
from textgym.cli import options
from textgym.cli.options import MODEL, OUTPUT, REWARD, RUN
from textgym.cli.report import save_report, show
from textgym.cli.terminal import complain, print_json, speak, stderr, stdout, visible

if TYPE_CHECKING:
    from textgym.benchmarks.rewards.design import Design
    from textgym.benchmarks.rewards.job import Job
    from textgym.benchmarks.rewards.plan import Plan

SEVERAL = ("--designs", "--experiment")
"""Options that take everything up to the next option."""

RAY, HERE = "--ray", "local"
"""An option whose value may be left away, and what it is then: a cluster that is started here."""

OWN, ALL = ("designs", "kl"), "all"
"""Experiments that are about the designs, and nothing but them; a name for all that there are."""

_ADDRESS = re.compile(r"auto|local|ray://.*|[\w.-]+:\d+")


class Listed(TyperCommand):
    """A command some of whose options take several values, or none."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`--designs A B` is read as `--designs A --designs B`, and `--ray` alone as `--ray local`."""
        return super().parse_args(ctx, list(_spread(args)))


def _spread(args: Sequence[str]) -> Iterator[str]:
    several = ""
    for place, arg in enumerate(args):
        after = args[place - 1] if place else ""
        if arg.startswith("--") or arg in ("-h", "-q"):
            option = arg.partition("=")[0]
            several = option if option in SEVERAL else ""
        elif arg.endswith((".yaml", ".yml")):
            several = several if after in SEVERAL else ""
        elif several and after != several:
            yield several
        yield arg
        if arg == RAY and not (place + 1 < len(args) and _ADDRESS.fullmatch(args[place + 1])):
            yield HERE


bench = typer.Typer(
    name="bench",
    help="Compare designs: which reward is best, by how much, at what KL, and which is hacked.",
    no_args_is_help=True,
    add_completion=False,
)


@bench.callback()
def _bench() -> None:
    """Compare designs: which reward is best, by how much, at what KL, and which is hacked."""


@bench.command(cls=Listed)
def rewards(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Designs in a file of YAML.", metavar="DESIGNS.yaml", show_default="those that are built in"
        ),
    ] = None,
    designs: Annotated[
        list[str] | None,
        typer.Option(help="Rewards, or built-in designs by name; several.", metavar="EXPR...", rich_help_panel=REWARD),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="One run of each of four designs: minutes.", rich_help_panel=RUN)
    ] = False,
    experiment: Annotated[
        list[str] | None,
        typer.Option(
            help="Which comparisons; several.",
            metavar="NAME...",
            show_default="designs, kl; quick: designs; without designs: all",
            rich_help_panel=RUN,
        ),
    ] = None,
    task: options.Task = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="What all runs begin as (textgym list models).",
            metavar="DIR",
            show_default="story-small",
            rich_help_panel=MODEL,
        ),
    ] = None,
    checkpoints: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Models that designs are tried on; those after the first are pretrained like it.",
            show_default="3; quick: 1",
            rich_help_panel=MODEL,
        ),
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option(help="Who learns (textgym list agents).", show_default="grpo", rich_help_panel=REWARD),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Runs of each design on each model.", show_default="2; quick: 1", rich_help_panel=RUN),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            min=1, help="Tokens that each run writes.", show_default="100,000; quick: 75,000", rich_help_panel=RUN
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Jobs at a time, each on one core.", show_default="as many as cores", rich_help_panel=RUN
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Run on Ray: address of a cluster, or nothing for one that is started here.",
            metavar="[ADDRESS]",
            rich_help_panel=RUN,
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Begin no job after so long.", show_default="no limit", rich_help_panel=RUN),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be run and how long it takes.", rich_help_panel=OUTPUT)
    ] = False,
    out: Annotated[
        Path, typer.Option(help="Folder of the results; what it holds is not run again.", rich_help_panel=OUTPUT)
    ] = Path("runs/rewards"),
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train agents on designs of rewards, and compare what they write with the truth.

    Every job that ends adds a row to rows.jsonl in the folder, and the same command goes on where it was stopped.
    Its report is made at its end, and at any time by textgym report DIR.
    """
    from textgym.benchmarks.rewards.checking import prepared
    from textgym.benchmarks.rewards.plan import Plan, jobs

    speak(quiet or json)
    read, its_task = _read(file, designs or [], model)
    given: dict[str, Any] = {
        "task": task or its_task,
        "model": model,
        "checkpoints": checkpoints,
        "agent": agent,
        "seeds": seeds,
        "tokens": tokens,
        "experiments": _experiments(experiment, own=bool(read) and not quick),
    }
    make = Plan.quick if quick else Plan.full
    plan = make(**{name: value for name, value in given.items() if value is not None})
    plan, chosen = prepared(
        plan, read or _builtin(plan, quick), chosen=bool(read), experiments_chosen=experiment is not None
    )
    todo = jobs(plan, chosen)
    if dry_run:
        _list(plan, chosen, todo, out, workers, json=json)
        return
    if not quiet:
        _announce(plan, chosen, todo, out, workers, json=json)
    failed = _run(plan, chosen, out, workers=workers, ray=ray, minutes=minutes, quiet=quiet)
    show(save_report(out, out), out, json=json)
    if failed:
        complain(f"{_count(failed, 'job')} failed; the same command tries again")
        raise typer.Exit(1)


def _read(file: Path | None, texts: Sequence[str], model: str | None) -> "tuple[list[Design], str | None]":
    """The designs that were asked for, those of the file first, and the task that it names."""
    from textgym.benchmarks.rewards.designs import MODEL, together, typed
    from textgym.benchmarks.rewards.reading import read_designs

    found = None if file is None else read_designs(file, model=model or MODEL)
    designs = together([*(found.designs if found else ()), *typed(texts, model=model or MODEL)])
    return designs, None if found is None else found.task


def _experiments(named: Sequence[str] | None, *, own: bool) -> tuple[str, ...] | None:
    """Those that are named; of designs of one's own `OWN`; None for what the plan has."""
    from textgym.benchmarks.rewards.experiments import EXPERIMENTS

    if named is None:
        return OWN if own else None
    return tuple(dict.fromkeys(each for name in named for each in (EXPERIMENTS if name == ALL else (name,))))


def _builtin(plan: "Plan", quick: bool) -> "list[Design]":
    from textgym.benchmarks.rewards.designs import builtin

    return builtin(["quick" if quick else "all"], model=plan.model)


def _announce(
    plan: "Plan", designs: "Sequence[Design]", todo: "Sequence[Job]", out: Path, workers: int | None, *, json: bool
) -> None:
    """The line that says what is run, and how long it will take."""
    from rich.text import Text

    left, hours = _left(todo, out, workers)
    known = f" ({len(todo) - left:,} done)" if left < len(todo) else ""
    parts = [f"TextGym {__version__}", f"task {plan.task}", _count(len(designs), "design")]
    parts += [_count(len(todo), "job") + known, hours]
    (stderr() if json else stdout()).print(Text(visible(" · ".join(parts)), style="bold"), soft_wrap=True)


def _left(todo: "Sequence[Job]", out: Path, workers: int | None) -> tuple[int, str]:
    """How many jobs have no row yet, and how long they will take."""
    from textgym.benchmarks.rewards.job import key_of
    from textgym.benchmarks.rewards.run import estimate
    from textgym.reports.results import Results

    done = Results(out).done
    left = [job for job in todo if key_of(job) not in done]
    return len(left), estimate(left, workers) if left else "nothing left to do"


def _list(
    plan: "Plan", designs: "Sequence[Design]", todo: "Sequence[Job]", out: Path, workers: int | None, *, json: bool
) -> None:
    """What would be run: jobs of one design and experiment on one line."""
    if json:
        left, hours = _left(todo, out, workers)
        print_json({"jobs": list(todo), "left": left, "time": hours}, indent=2)
        return
    from rich.table import Table
    from rich.text import Text

    _announce(plan, designs, todo, out, workers, json=False)
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(justify="right")
    for _ in range(4):
        table.add_column(overflow="fold")
    for (experiment, kind, design), alike in _alike(todo).items():
        varied = _varied([job["variant"] for job in alike])
        table.add_row(
            f"{len(alike):,}", experiment, kind.replace("_", "-"), *(Text(visible(s)) for s in (design, varied))
        )
    stdout().print(table)


def _alike(todo: "Sequence[Job]") -> "dict[tuple[str, str, str], list[Job]]":
    found: dict[tuple[str, str, str], list[Job]] = {}
    for job in todo:
        found.setdefault((job["experiment"], job["kind"], job["design"]), []).append(job)
    return found


def _varied(variants: Sequence[dict[str, Any]]) -> str:
    """What differs among jobs, e.g. "n 2, 4, 8"."""
    values: dict[str, list[str]] = {}
    for variant in variants:
        for name, value in variant.items():
            values.setdefault(name, []).append(f"{value}")
    return "; ".join(f"{name} {', '.join(dict.fromkeys(each))}" for name, each in values.items())


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _run(
    plan: "Plan",
    designs: "Sequence[Design]",
    out: Path,
    *,
    workers: int | None,
    ray: str | None,
    minutes: float | None,
    quiet: bool,
) -> int:
    """Does what there is to do; how many jobs failed."""
    from textgym.benchmarks.rewards.run import run
    from textgym.reports.results import Results

    try:
        done = run(plan, designs, out, workers=workers, ray=ray, minutes=minutes, progress=not quiet)
    except KeyboardInterrupt:
        if Results(out).path.exists():
            print(f"what there is so far: textgym report {out}", file=sys.stderr)
        raise
    return len(done.failures)
