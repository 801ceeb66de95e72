"""`textgym rescore`: saved texts under another reward, before anything is trained on it."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textgym.cli import options
from textgym.cli.options import DEFAULTS, REWARD
from textgym.cli.terminal import print_json, speak, stdout, visible

if TYPE_CHECKING:
    from textgym.interop.portable_reward import PortableReward
    from textgym.runs.episodes import SavedEpisodes
    from textgym.runs.rescore import Progress, Rescoring

_log = logging.getLogger("textgym")

SHOWN_CHARACTERS = 160


def rescore(
    where: Annotated[
        Path,
        typer.Argument(
            help="Folder of a run of textgym train, or rollouts of TRL, verl or OpenRLHF.", metavar="DIR|FILE"
        ),
    ],
    reward: Annotated[
        str,
        typer.Option(
            help="The new reward: an expression, or file.py:function.", metavar="SPEC", rich_help_panel=REWARD
        ),
    ],
    task: options.ScoringTask = None,
    corpus: options.Corpus = None,
    field: options.Field = None,
    prompts: options.Prompts = None,
    tokenizer: options.Tokenizer = DEFAULTS.tokenizer,
    cache_dir: options.CacheDir = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Score saved texts under another reward, and say what would have been different. Nothing is trained.

    How alike do both rewards order the texts, over all and within each prompt? Would the run have counted as progress?
    Which texts rise, which fall? The task of a run is its own unless one is named; rollouts of other trainers are
    bound to the task that is named, or to none.
    """
    from textgym.runs.episodes import saved_episodes
    from textgym.runs.rescore import rescore as score_again
    from textgym.text.rollouts import read_rollouts

    speak(quiet or json)
    saved = saved_episodes(where)
    given = {"task": task, "corpus": corpus, "field": field, "prompts": prompts}
    given["tokenizer"] = None if tokenizer == "auto" else tokenizer
    named = {name: value for name, value in given.items() if value is not None}
    paid, same = _open(reward, saved, named, cache_dir)
    found = score_again(read_rollouts(saved.path), paid, replay=same)
    if json:
        print_json(
            {"reward": paid.spec, "signature": paid.signature, "old": saved.reward or None, **found.to_dict()}, indent=2
        )
    else:
        _show(found, saved, paid.spec, where)


def _open(
    reward: str, saved: "SavedEpisodes", named: dict[str, Any], cache_dir: str | None
) -> tuple["PortableReward", bool]:
    """The new reward, and whether it is on the very task that the texts were written for."""
    from textgym.interop.portable_reward import portable

    # A tokenizer or a field alone changes the run's own task; a task, corpus or prompts replace it.
    settings = named if {"task", "corpus", "prompts"} & named.keys() else {**saved.task, **named}
    opened = portable(reward, **settings, cache_dir=cache_dir)
    context = opened.opened.reward.bound.context
    assert context is not None
    if saved.signature and settings == saved.task and context.signature != saved.signature:
        _log.warning(
            "the task is no longer what the run was trained on (%s, now %s): its corpus or its tokenizer changed, so "
            "that its texts are read anew",
            saved.signature,
            context.signature,
        )
    return opened, bool(saved.signature) and context.signature == saved.signature


def _show(found: "Rescoring", saved: "SavedEpisodes", spec: str, where: Path) -> None:
    from rich.table import Table
    from rich.text import Text

    from textgym.cli.tables import print_facts

    console, told = stdout(), found.to_dict()
    facts = [("texts", _texts(told, where)), ("old", saved.reward or "as recorded"), ("new", spec)]
    print_facts(console, facts)
    console.print()
    table = Table.grid(padding=(0, 3), pad_edge=False)
    table.add_column(no_wrap=True)
    for _ in ("before", "after"):
        table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_row("", *(Text(name, style="bold") for name in ("before", "after", "change (95% interval)")))
    for name, values in (("old reward", found.old), ("new reward", found.new)):
        table.add_row(Text(name, style="bold"), *_progress(found.progress(values), told["mean"][name[:3]]))
    for name, values in found.components.items():
        table.add_row(f"  {visible(name)}", *_progress(found.progress(values), told["components"][name]["mean"]))
    console.print(table)
    console.print()
    print_facts(console, _ranking(found))
    for title, rows in (("rise", told["rise"]), ("fall", told["fall"])):
        if rows:
            console.print()
            console.print(Text(f"{title} most", style="bold"))
            console.print(_moved(rows))


def _texts(told: dict[str, Any], where: Path) -> str:
    parts = [f"{told['texts']:,} in {where}"]
    if told["recorded"] < told["texts"]:
        parts.append(f"{told['texts'] - told['recorded']:,} without a recorded reward")
    if told["applicable"] < told["texts"]:
        parts.append(f"the new reward is not applicable to {told['texts'] - told['applicable']:,}")
    return "; ".join(parts)


def _progress(progress: "Progress | None", mean: float | None) -> tuple[str, str, str]:
    """Cells of a row: the ends of the training and the change; one mean where the ends are not known."""
    if progress is None:
        return "", "" if mean is None else f"{mean:.3f}", "(mean of all)" if mean is not None else "(none)"
    low, high = progress.change[1:]
    interval = f"{progress.change[0]:+.3f} [{low:.3f}, {high:.3f}]"
    return f"{progress.before:.3f}", f"{progress.after:.3f}", f"{interval}  {progress.verdict}"


def _ranking(found: "Rescoring") -> list[tuple[str, str]]:
    alike = found.agreement
    if alike is None:
        return [("ranking", "no reward was recorded of these texts, so that there is nothing to compare with")]
    shown = {
        "over all": (alike.spearman, alike.kendall),
        f"within {alike.prompts} prompts": (alike.spearman_within, alike.kendall_within),
    }
    lines = [
        f"{name}: Spearman {_number(spearman)}, Kendall's tau {_number(kendall)}"
        for name, (spearman, kendall) in shown.items()
    ]
    best = "" if alike.best_changes is None else f"another text is the best of {alike.best_changes:.0%} of the prompts"
    return [("ranking", lines[0]), ("", lines[1]), *([("best", best)] if best else [])]


def _number(value: float | None) -> str:
    return "undefined (no order)" if value is None else f"{value:+.2f}"


def _moved(rows: Sequence[dict[str, Any]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        text = row["completion"].strip()
        text = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
        table.add_row(str(row["line"]), f"{row['old']:.3g} → {row['new']:.3g}", Text(visible(text) or "(empty)"))
    return table
