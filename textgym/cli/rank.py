"""`textgym rank`: the completions of each prompt, best first."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from textgym.cli import options
from textgym.cli.options import DEFAULTS
from textgym.cli.records import InputLines, read_records
from textgym.cli.terminal import speak, stdout, visible
from textgym.cli.writing import json_writer

if TYPE_CHECKING:
    from textgym.cli.scoring import Judgement


def rank(
    spec: options.Spec,
    input: options.Input,
    output: options.Output = None,
    json: options.Json = False,
    task: options.ScoringTask = None,
    corpus: options.Corpus = None,
    field: options.Field = None,
    tokenizer: options.Tokenizer = DEFAULTS.tokenizer,
    cache_dir: options.CacheDir = None,
    quiet: options.Quiet = False,
) -> None:
    """Order the completions of each prompt, the highest score first.

    Reads rows as `textgym score` does, where rows with the same prompt form a group; a row may also hold
    "completions", a list. Prints a table, or with --json or --output rows of {"prompt", "rank", "id", "index", "score",
    "components", "valid", "completion"}; `index` is the place in the row's list. Completions to which the scorer is not
    applicable come last. A line that cannot be read or scored ends it: a ranking without it would be another one.
    """
    from textgym.cli.scoring import open_judge

    speak(quiet)
    judge = open_judge(spec, task=task, corpus=corpus, field=field, tokenizer=tokenizer, cache_dir=cache_dir)
    if not judge.scorer.higher_is_better:
        print(f"note: less of {judge.scorer} is better; '-{judge.scorer}' puts the least first", file=sys.stderr)
    lines, groups = InputLines(input), dict[str, list["Judgement"]]()
    for judgement in judge.judge(read_records(lines, lists=True), lines.name, strict=True):
        groups.setdefault(judgement.scored.prompt, []).append(judgement)
    ranked = {prompt: best_first(group) for prompt, group in groups.items()}
    if output is None and not json:
        _print(ranked)
        return
    with json_writer(output) as writer:
        for prompt, group in ranked.items():
            for place, judgement in enumerate(group, start=1):
                writer.write({"prompt": prompt, "rank": place, **_row(judgement)})


def best_first(group: "Sequence[Judgement]") -> "list[Judgement]":
    """The highest score first, ties as they came, those without a score last."""
    return sorted(group, key=lambda judgement: (judgement.score is None, -(judgement.score or 0.0)))


def _row(judgement: "Judgement") -> dict[str, Any]:
    row, record = judgement.to_row(), judgement.scored
    return {"id": row.pop("id"), "index": record.index, **row, "completion": record.completion}


def _print(ranked: "dict[str, list[Judgement]]") -> None:
    from rich.table import Table
    from rich.text import Text

    for prompt, group in ranked.items():
        table = Table.grid(padding=(0, 2), pad_edge=False)
        table.add_column(justify="right")
        table.add_column(justify="right")
        table.add_column(overflow="fold")
        for place, judgement in enumerate(group, start=1):
            score = "-" if judgement.score is None else f"{judgement.score:.4g}"
            table.add_row(str(place), Text(score, style="bold"), Text(visible(judgement.scored.completion)))
        if prompt:
            stdout().print(Text(visible(prompt), style="bold cyan"))
        stdout().print(table)
        stdout().print()
