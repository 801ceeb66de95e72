"""Values as colours: five steps to either side of 0, and stories whose tokens are coloured by what they earned."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from textgym.errors import ReportError
from textgym.reports.blocks import Story
from textgym.reports.templates import MINUS, number, shown

STEPS = (0.02, 0.2, 0.45, 0.75)
"""Shares of the full colour from which on a step is taken."""


def full_colour(values: Iterable[float | None]) -> float:
    """What takes the full colour: nine in ten of the values that are not 0 are smaller; 0 where there are none."""
    sizes = np.abs(np.array([math.nan if value is None else value for value in values], dtype=float))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    return float(np.quantile(sizes, 0.9, method="higher")) if len(sizes) else 0.0


def step(value: float | None, full: float) -> str:
    """The class of a value: "p1" to "p4" above 0, "n1" to "n4" below, "" near it or where it is not known."""
    if value is None or not math.isfinite(value) or full <= 0:
        return ""
    taken = sum(abs(value) >= share * full for share in STEPS)
    return f"{'p' if value > 0 else 'n'}{taken}" if taken else ""


@dataclass(frozen=True)
class Token:
    """A token of a heat map.

    Attributes:
        blank: the spaces that it begins with, which are not coloured.
        text: the rest.
        classes: its colour, and "wrong" or "idle" where it is marked.
        notes: numbers of the notes on it, from 1.
    """

    blank: str
    text: str
    classes: str
    notes: str


@dataclass(frozen=True)
class Note:
    """What is wrong, once for all tokens of which it is said.

    Attributes:
        text: what.
        severe: whether it is more than redundant.
        words: of which tokens, each once.
    """

    text: str
    severe: bool
    words: str


@dataclass(frozen=True)
class HeatMap:
    """A story as a page shows it.

    Attributes:
        title: of the story.
        tokens: T tokens.
        notes: in order.
        totals: by name, as text.
        values: JSON, pairs of a name and T values, what was paid before the components.
        full: what takes the full colour.
    """

    title: str
    tokens: tuple[Token, ...]
    notes: tuple[Note, ...]
    totals: Mapping[str, str]
    values: str
    full: float


def heat_map(story: Story) -> HeatMap:
    """Colours a story.

    Raises:
        ReportError: values for more or fewer tokens than there are.
    """
    parts = {"paid": story.credit} | {shown(name): values for name, values in story.components.items()}
    if wrong := {name: len(values) for name, values in parts.items() if len(values) != len(story.tokens)}:
        raise ReportError(f"{story.title!r} has {len(story.tokens)} tokens, and values for {wrong}")
    full, said = full_colour(story.credit), list(dict.fromkeys((mark.text, mark.severe) for mark in story.marks))
    tokens = []
    for place, (text, paid) in enumerate(zip(story.tokens, story.credit, strict=True)):
        here = [mark for mark in story.marks if mark.token == place]
        numbers = [str(1 + said.index((mark.text, mark.severe))) for mark in here]
        kind = ("wrong" if any(mark.severe for mark in here) else "idle") if here else ""
        classes = " ".join(filter(None, (step(paid, full), kind)))
        tokens.append(Token(*_parted(text, first=not place), classes, ", ".join(numbers)))
    notes = tuple(Note(shown(text), severe, _words(story, tokens, text)) for text, severe in said)
    values = json.dumps([[name, [*map(_brief, part)]] for name, part in parts.items()], separators=(",", ":"))
    totals = {shown(name): _total(value) for name, value in story.totals.items()}
    return HeatMap(shown(story.title), tuple(tokens), notes, totals, values, full)


def _parted(token: str, first: bool) -> tuple[str, str]:
    """Spaces before it and the rest; what cannot be seen may have been paid all the same, and has a sign."""
    text = token.lstrip(" ")
    if not text:
        return "", "␣" if token else "·"
    return "" if first else token[: len(token) - len(text)], shown(text)


def _words(story: Story, tokens: Sequence[Token], text: str) -> str:
    places = [mark.token for mark in story.marks if mark.text == text and 0 <= mark.token < len(tokens)]
    return ", ".join(dict.fromkeys(tokens[place].text for place in places))


def _total(value: float) -> str:
    return "" if math.isnan(value) else number(value, 0 if float(value).is_integer() else 2).replace("-", MINUS)


def _brief(value: float | None) -> float | None:
    """With three digits; a page holds tens of thousands."""
    if value is None or not math.isfinite(value):
        return None
    brief = float(f"{value:.3g}")
    return int(brief) if brief.is_integer() else brief
