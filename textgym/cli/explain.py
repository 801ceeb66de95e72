"""`textgym explain`: what a story says, what is wrong with it, and since when."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textgym.cli import options
from textgym.cli.options import OUTPUT, RUN, TEXT
from textgym.cli.records import read_rows
from textgym.cli.terminal import print_json, stdout, visible
from textgym.errors import CorpusError, TaskError, UnknownNameError

if TYPE_CHECKING:
    from textgym.worlds.story.explanation import Explanation
    from textgym.worlds.story.world import StoryWorld

TASKS = {
    "story": ("small", "en"),
    "story-base": ("base", "en"),
    "story-zh": ("small", "zh"),
    "story-base-zh": ("base", "zh"),
}
"""Preset and language of every task whose truth can be explained."""


@dataclass(frozen=True)
class Explained:
    """One story with its heading.

    Attributes:
        heading: what it is called; empty for a single one.
        explanation: of the story.
    """

    heading: str
    explanation: "Explanation"


def explain(
    task: Annotated[str, typer.Option(help=f"{', '.join(TASKS)}.", rich_help_panel=TEXT)] = "story",
    language: Annotated[
        str | None, typer.Option(help="en or zh.", show_default="the task's", rich_help_panel=TEXT)
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="small or base.", show_default="the task's", rich_help_panel=TEXT)
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="The brief.", metavar="BRIEF", rich_help_panel=TEXT, show_default="a sample")
    ] = None,
    story: Annotated[
        str | None, typer.Option(help="The story.", metavar="TEXT", rich_help_panel=TEXT, show_default="a sample")
    ] = None,
    input: Annotated[
        Path | None,
        typer.Option("--input", "-i", help="Stories as JSON Lines; - is stdin.", metavar="FILE", rich_help_panel=TEXT),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample.", rich_help_panel=RUN)] = 0,
    html: Annotated[
        Path | None, typer.Option(help="Also write a page.", metavar="FILE", rich_help_panel=OUTPUT)
    ] = None,
    json: options.Json = False,
) -> None:
    """Show the truth of a story: what each sentence says, contradicts and since when, tells anew, and changes.

    Reads --story, or rows of {"prompt"?, "story" or "completion", "id"?}; --prompt is the brief of rows without one.
    Without a story it shows a sample: a clean one, and the same with one word changed, so that it contradicts itself.
    With --json one object a line and story: brief, facts, sentences, totals.
    """
    from textgym.worlds.story.world import story_world

    if story is not None and input is not None:
        raise TaskError("--story and --input both name a story: give one of them")
    world = story_world(*_which(task, preset, language))
    if input is not None:
        shown = list(_of_file(world, input, prompt))
    elif story is not None:
        shown = [Explained("", _of_text(world, prompt, story))]
    else:
        shown = _sample(world, prompt, seed)
    if html is not None:
        _write(html, shown)
    if json:
        for one in shown:
            print_json(one.explanation.to_json())
        return
    _print(shown, sample=story is None and input is None)
    if html is not None:
        stdout().print(f"saved     {visible(str(html))}", markup=False, soft_wrap=True)


def _which(task: str, preset: str | None, language: str | None) -> tuple[str, str]:
    """Preset and language: the task's, or, of the plain task, those that are given."""
    if task not in TASKS:
        raise UnknownNameError("task with stories to explain", task, TASKS)
    its_preset, its_language = TASKS[task]
    for name, given, its in (("preset", preset, its_preset), ("language", language, its_language)):
        if task != "story" and given not in (None, its):
            raise TaskError(f"task {task} has the {name} {its}, not {given}: leave out --{name}, or name --task story")
    return preset or its_preset, language or its_language


def _of_text(world: "StoryWorld", prompt: str | None, story: str) -> "Explanation":
    from textgym.worlds.story.explain import explain as explained

    if prompt is None:
        raise TaskError("a story is true or false under its brief: give --prompt BRIEF as well")
    return explained(world, prompt, story)


def _of_file(world: "StoryWorld", path: Path, prompt: str | None) -> Iterator[Explained]:
    for line, row in read_rows(path):
        where = f"{'stdin' if str(path) == '-' else path}, line {line}"
        story, brief = row.get("story", row.get("completion")), row.get("prompt", prompt)
        if story is None:
            raise CorpusError(f"{where}: it has neither 'story' nor 'completion'; its keys are {_keys(row)}")
        if brief is None:
            raise CorpusError(f"{where}: it has no 'prompt'; its keys are {_keys(row)}. Or give --prompt BRIEF for all")
        for name, text in (("the story", story), ("'prompt'", brief)):
            if not isinstance(text, str):
                raise CorpusError(f"{where}: {name} must be text, not {type(text).__name__}")
        try:
            yield Explained(str(row.get("id", line)), _of_text(world, brief, story))
        except TaskError as error:
            raise TaskError(f"{where}: {error}") from error


def _keys(row: dict[str, Any]) -> str:
    return ", ".join(map(repr, row)) or "none"


def _sample(world: "StoryWorld", prompt: str | None, seed: int) -> list[Explained]:
    import numpy as np

    from textgym.reports.labels import labels
    from textgym.worlds.story.explain import explain as explained
    from textgym.worlds.story.sample import draw_sample
    from textgym.worlds.story.words import read_brief

    brief = None if prompt is None else read_brief(world, prompt)
    sample = draw_sample(world, np.random.default_rng(seed), brief)
    clean, planted = (explained(world, sample.brief, ids) for ids in (sample.clean, sample.planted))
    known = labels(clean.language)
    return [Explained(known.clean, clean), Explained(known.planted, planted)]


def _write(path: Path, shown: list[Explained]) -> None:
    from textgym.reports.story_page import story_page

    if path.is_dir():
        raise CorpusError(f"{path} is a folder; give the file to write")
    try:
        path.write_text(story_page([(one.heading, one.explanation) for one in shown]), "utf-8", "backslashreplace")
    except OSError as error:
        raise CorpusError(f"{path} cannot be written: {error.strerror}") from error


def _print(shown: list[Explained], *, sample: bool) -> None:
    """Each story in full; of a sample, whose first story has no fault, only the second, and figures side by side."""
    from rich.text import Text

    from textgym.cli.story_view import axes, brief, legend, marked, view

    console, before = stdout(), ""
    for place, one in enumerate(shown):
        explanation = one.explanation
        if one.heading:
            console.print(Text(visible(one.heading), style="bold"))
        if explanation.brief != before:
            before = explanation.brief
            console.print(brief(explanation))
        console.print()
        whole = not (sample and place == 0)
        console.print(view(explanation, console.width) if whole else marked(explanation, console.width))
        console.print()
        if not sample:
            console.print(axes([("", explanation)]))
            console.print()
    if sample:
        console.print(axes([(one.heading, one.explanation) for one in shown]))
        console.print()
    console.print(legend(shown[-1].explanation))
