"""What a finished run looks like: figures before and after, completions side by side, and where everything is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from textgym.cli.terminal import visible

if TYPE_CHECKING:
    from textgym.worlds.story.world import StoryWorld

LABELS = {
    "kl": ("KL to the reference", "nats per text"),
    "repetition": ("repetition", ""),
    "distinct": ("distinct-2", ""),
    "length": ("length", "tokens"),
    "ended": ("ended by EOS", "share"),
    "perplexity": ("held-out perplexity", "per token"),
}
"""What is measured of every run, beside the reward and its components, in the order in which it is shown."""

TRUTH = {
    "grammar": ("unparsable", "of sentences", True),
    "coherence": ("contradictions", "of sentences", True),
    "faithfulness": ("unfaithful", "of sentences", True),
    "novelty": ("redundant", "of sentences", True),
    "information": ("reader accuracy", "0 none, 1 all", False),
    "changes": ("events", "that can happen", False),
    "fluency": ("fluency", "nats per token", False),
    "quality": ("gold quality", "0 to 1", False),
}
"""What is true of a story, by axis of gold: label, unit, and whether what is missing to 1 is shown."""


def figures(summary: Mapping[str, Any]) -> Table:
    """Every measure before and after, and the change with its 95% interval.

    Args:
        summary: of a run: `before`, `after`, `change`.
    """
    before, after, change = summary["before"], summary["after"], summary["change"]
    components = summary["reward"]["components"]
    rows = [("reward", "reward (paid)", "")] + [(f"reward/{name}", f"  {name}", "") for name in components]
    rows += [(name, *label) for name, label in LABELS.items() if name in before.keys() & after.keys() - set(components)]
    table = Table.grid(padding=(0, 3), pad_edge=False)
    table.add_column(no_wrap=True)
    for _ in ("before", "after"):
        table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim")  # gives way first where the terminal is narrow
    table.add_row("", *(Text(name, style="bold") for name in ("before", "after", "change (95% interval)")))
    for name, label, unit in rows:
        cells = visible(label), _number(before[name]), _number(after[name]), _change(name, before, after, change)
        table.add_row(*(Text(cell, style="bold" if name == "reward" else "") for cell in cells), unit)
    _add_truth(table, before, after, change)
    return table


def _add_truth(
    table: Table, before: Mapping[str, float], after: Mapping[str, float], change: Mapping[str, Any]
) -> None:
    """What is exactly true of the texts, where the task knows it."""
    axes = {axis: row for axis, row in TRUTH.items() if f"gold/{axis}" in before}
    if axes:
        table.add_row(Text("truth", style="bold"))
    for axis, (label, unit, complement) in axes.items():
        name, sign = f"gold/{axis}", -1 if complement else 1
        ends = [sign * change[name][key] for key in ("mean", "low", "high")]
        cells = [f"  {label}", *(_number(complement + sign * part[name]) for part in (before, after))]
        cells.append(f"{ends[0]:+.2f} [{min(ends[1:]):.2f}, {max(ends[1:]):.2f}]")
        table.add_row(*(Text(cell, style="bold" if axis == "quality" else "") for cell in cells), unit)


def samples(rows: Sequence[tuple[str, str, str]], width: int) -> RenderableType:
    """Completions side by side.

    Args:
        rows: (prompt, completion before, completion after).
        width: of the terminal, in cells.
    """
    parts: list[RenderableType] = []
    for prompt, before, after in rows:
        table = Table.grid(padding=(0, 2), pad_edge=False)
        column = max((width - 2) // 2, 12)
        for _ in ("before", "after"):
            table.add_column(width=column, overflow="fold")
        table.add_row(Text("before", style="dim"), Text("after", style="dim"))
        table.add_row(_text(before), _text(after))
        parts += [Rule(style="dim"), Text(f"prompt    {visible(prompt)}", style="bold", overflow="fold"), table]
    return Group(*parts)


def stories(world: "StoryWorld", rows: Sequence[tuple[str, str, str]], width: int) -> RenderableType:
    """Stories one below the other, with marks under what is wrong in them.

    Args:
        world: knows the truth of them.
        rows: (brief, story before, story after).
        width: of the terminal, in cells.
    """
    from textgym.cli.story_view import marked
    from textgym.worlds.story.explain import explain

    parts: list[RenderableType] = []
    for prompt, before, after in rows:
        table = Table.grid(padding=(0, 2), pad_edge=False)
        table.add_column(no_wrap=True, style="dim")
        table.add_column()
        table.add_row("prompt", Text(visible(prompt), style="bold", overflow="fold"))
        for label, story in (("before", before), ("after", after)):
            shown = marked(explain(world, prompt, story), max(width - 8, 20)) if story.strip() else _text(story)
            table.add_row(label, shown)
        parts += [Rule(style="dim"), table]
    return Group(*parts)


def print_facts(console: Console, rows: Sequence[tuple[str, str]]) -> None:
    """Prints names with what they stand for, e.g. `saved     runs/demo`; lines are not broken, paths stay whole."""
    for name, fact in rows:
        console.print(Text(f"{name:<9} {visible(fact)}"), soft_wrap=True)


def saved(out: Path) -> str:
    """The folder of a run and what is in it, the files that are there only."""
    names = ["summary.json", "metrics.jsonl", "curve.png", "samples.jsonl", "episodes.jsonl"]
    names += ["model", "reference", "agent.zip"]
    there = [name + "/" * (out / name).is_dir() for name in names if (out / name).exists()]
    return f"{out}  ({', '.join(there)})"


def _change(name: str, before: Mapping[str, float], after: Mapping[str, float], change: Mapping[str, Any]) -> str:
    if name not in change:
        return f"{after[name] - before[name]:+.2f}"
    mean, low, high = (change[name][key] for key in ("mean", "low", "high"))
    return f"{mean:+.2f} [{low:.2f}, {high:.2f}]"


def _text(completion: str) -> Text:
    text = completion.strip()
    return Text(visible(text)) if text else Text("(empty)", style="dim")


def _number(value: float) -> str:
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.2f}"
