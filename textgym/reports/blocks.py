"""What a report is made of: sections of tables, pictures, lists of alarms and stories; how they look is the page's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Cell = str | float | int | None
"""None is not known, and shows as an empty cell; numbers are shown with their column's digits and sort as numbers."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% interval.

    Attributes:
        value: the estimate.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 or -1 where the interval excludes 0, else 0."""
        return int(self.low > 0) - int(self.high < 0)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading.
        digits: after the point, of numbers.
        about: what it is, its unit and which way is better; shown with the heading.
        scaled: cells are coloured by value, diverging about 0, as in a matrix.
    """

    name: str
    digits: int = 2
    about: str = ""
    scaled: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells.

    Attributes:
        caption: what it shows, a sentence.
        columns: C columns; the first names the row.
        rows: each of C cells.
        marks: by (row, column), a word that stands in a cell beside its value, e.g. "hacked" or "itself".
        notes: below it, a sentence each.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell | Interval]]
    marks: Mapping[tuple[int, int], str] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Picture:
    """A drawing.

    Attributes:
        caption: what it shows, a sentence.
        svg: the drawing, without script and without reference to anything outside.
        alternative: the same in words, for whoever cannot see it.
    """

    caption: str
    svg: str
    alternative: str


@dataclass(frozen=True)
class Mark:
    """What is wrong at a token.

    Attributes:
        token: which, from 0.
        text: what, in a few words.
        severe: whether it is more than redundant.
    """

    token: int
    text: str
    severe: bool = True


@dataclass(frozen=True)
class Story:
    """A text, each token with what it earned.

    Attributes:
        title: who wrote it, e.g. the design and "sampled".
        tokens: T texts, joined as they are.
        credit: T values, what each token was paid.
        components: by name, T values.
        marks: what is wrong, in order.
        totals: by name, of the whole text.
    """

    title: str
    tokens: Sequence[str]
    credit: Sequence[float]
    components: Mapping[str, Sequence[float]] = field(default_factory=dict)
    marks: Sequence[Mark] = ()
    totals: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Stories:
    """Texts about one prompt, side by side.

    Attributes:
        prompt: the prompt.
        stories: the texts.
    """

    prompt: str
    stories: Sequence[Story]


@dataclass(frozen=True)
class Notice:
    """A sentence that must not be missed.

    Attributes:
        level: "good", "bad", "warning" or "note".
        text: the sentence.
    """

    level: str
    text: str


Block = Table | Picture | Stories | Notice


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        name: identifies it, lower case, of letters and hyphens; anchors and file names are made from it.
        title: its heading.
        text: what it says, paragraphs of plain text.
        blocks: in their order.
    """

    name: str
    title: str
    text: Sequence[str] = ()
    blocks: Sequence[Block] = ()


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes:
        title: its heading.
        summary: what a reader in a hurry needs, a sentence each, the most important first.
        sections: in their order.
        facts: configuration and versions, by name.
    """

    title: str
    summary: Sequence[str]
    sections: Sequence[Section]
    facts: Mapping[str, str] = field(default_factory=dict)
