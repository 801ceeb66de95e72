"""Values as colours: five steps to either side of 0, and stories whose tokens are coloured by what they earned."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from textgym.errors import ReportError
from textgym.reports.blocks import Mark, Story
from textgym.reports.templates import shown

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
        marks: numbers of its marks, from 1.
    """

    blank: str
    text: str
    classes: str
    marks: str


@dataclass(frozen=True)
class HeatMap:
    """A story as a page shows it.

    Attributes:
        story: the story.
        tokens: T tokens.
        values: JSON, pairs of a name and T values, what was paid before the components.
        full: what takes the full colour.
    """

    story: Story
    tokens: tuple[Token, ...]
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
    full = full_colour(story.credit)
    marks: dict[int, list[tuple[int, Mark]]] = {}
    for number, mark in enumerate(story.marks, 1):
        marks.setdefault(mark.token, []).append((number, mark))
    tokens = tuple(
        _token(text, step(paid, full), marks.get(place, []))
        for place, (text, paid) in enumerate(zip(story.tokens, story.credit, strict=True))
    )
    values = json.dumps([[name, [*map(_brief, part)]] for name, part in parts.items()], separators=(",", ":"))
    return HeatMap(story, tokens, values, full)


def _token(token: str, colour: str, marks: list[tuple[int, Mark]]) -> Token:
    text = token.lstrip(" ")
    kind = ("wrong" if any(mark.severe for _, mark in marks) else "idle") if marks else ""
    classes = " ".join(filter(None, (colour, kind)))
    numbers = ", ".join(str(number) for number, _ in marks)
    if not text:  # what cannot be seen may have been paid all the same
        return Token("", "␣" if token else "·", classes, numbers)
    return Token(token[: len(token) - len(text)], shown(text), classes, numbers)


def _brief(value: float | None) -> float | None:
    """With three digits; a page holds tens of thousands."""
    if value is None or not math.isfinite(value):
        return None
    brief = float(f"{value:.3g}")
    return int(brief) if brief.is_integer() else brief
