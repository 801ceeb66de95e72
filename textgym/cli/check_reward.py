"""`textgym check-reward`: the usual questions, asked of a reward before anything is trained on it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textgym.cli import options
from textgym.cli.auditing import open_arena, read_pairs
from textgym.cli.options import DEFAULTS, REWARD, TEXT
from textgym.cli.terminal import print_json, speak, stdout, visible

if TYPE_CHECKING:
    from textgym.audit import Report

_STYLES = {"ok": "green", "warn": "yellow", "FAIL": "bold red", "skip": "dim"}

Rollouts = Annotated[
    Path | None,
    typer.Option(
        help="Saved rollouts in place of a task: JSON Lines of TRL, verl, OpenRLHF or textgym.",
        metavar="FILE",
        rich_help_panel=TEXT,
    ),
]


def check_reward(
    spec: options.Spec,
    task: options.Task = None,
    corpus: options.Corpus = None,
    field: options.Field = None,
    prompts: options.Prompts = None,
    tokenizer: options.Tokenizer = DEFAULTS.tokenizer,
    rollouts: Rollouts = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="Judged pairs, JSON Lines of {prompt?, chosen, rejected}.", metavar="FILE", rich_help_panel=TEXT
        ),
    ] = None,
    delivery: Annotated[str, typer.Option(help="terminal, per_token or shaped.", rich_help_panel=REWARD)] = "terminal",
    gamma: Annotated[float, typer.Option(help="The agent's discount.", rich_help_panel=REWARD)] = 1.0,
    dense: Annotated[
        str | None,
        typer.Option(
            help="Your own reward for each token: what the last token of a text is paid.",
            metavar="FILE.py:FUNCTION",
            rich_help_panel=REWARD,
        ),
    ] = None,
    seed: options.Seed = 0,
    cache_dir: options.CacheDir = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Ask of a reward what a careful colleague would, and say which answers are bad.

    Is it finite, within its range, deterministic, the same in any batch? Do good texts score above random words,
    shuffled words, nothing, one sentence over and over, a copy of the prompt? Does it pay to be long, or short? Does
    one term decide everything? Is there anything to learn? What does it cost, and does its delivery keep the optimum?

    Good texts are held-out references of the task, or those in the rollouts. Exit code 1 if anything failed.
    """
    from textgym.audit import check_reward as ask
    from textgym.scorers.spec import resolve

    speak(quiet or json)
    arena = open_arena(
        spec,
        rollouts=rollouts,
        task=task,
        corpus=corpus,
        field=field,
        prompts=prompts,
        tokenizer=tokenizer,
        cache_dir=cache_dir,
        seed=seed,
    )
    paid = None if dense is None else resolve(dense).bind(arena.bound.context)
    report = ask(
        arena,
        delivery=delivery,
        gamma=gamma,
        dense=None if paid is None else lambda batch: paid.score(batch).values,
        pairs=read_pairs(pairs) if pairs is not None else (),
    )
    if json:
        print_json(report.to_row(), indent=2)
    else:
        _print(report)
    if not report.passed:
        raise typer.Exit(1)


def _print(report: "Report") -> None:
    from rich.table import Table
    from rich.text import Text

    stdout().print(Text(f"{visible(report.reward)}  on {visible(report.where)}", style="bold"))
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in report.findings:
        status = Text(finding.status, style=_STYLES[finding.status])
        table.add_row(status, Text(finding.check, style="dim"), Text(visible(finding.message)))
    stdout().print(table)
    failed = len(report.failures)
    said = f"{failed} failure{'s' * (failed != 1)}." if failed else "No failures."
    if report.exploit is not None:
        text = str(report.exploit["text"]).strip()
        shown = visible(text if len(text) <= 80 else text[:79] + "…")
        scores = f"{report.exploit['score']:.3g}, where the good text has {report.exploit['good']:.3g}"
        said += f" Cheapest exploit so far: {shown!r} scores {scores}. See: textgym attack"
    stdout().print(Text(said, style="bold" if failed else ""))
