"""An explained story in a terminal: marks under the words, and, sentence by sentence, what was found."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from textgym.cli.terminal import visible
from textgym.reports.labels import Labels, labels
from textgym.reports.marks import level, marks
from textgym.worlds.story.explanation import Explanation, Sentence

SHADES = ("", "cyan", "magenta", "bold magenta")
"""Of words by how unlikely they are."""

_INDENT = 4


@dataclass
class _Line:
    """One line of words, with what is to stand under them: (column, text, style)."""

    text: Text = field(default_factory=Text)
    notes: list[tuple[int, str, str]] = field(default_factory=list)


def marked(explanation: Explanation, width: int) -> Text:
    """A story, and under a line of it, where something is wrong, a line that says so.

    Args:
        explanation: of the story.
        width: of the terminal, in cells.
    """
    return _marked(explanation.sentences, labels(explanation.language), width)


def view(explanation: Explanation, width: int) -> RenderableType:
    """A story sentence by sentence: what it says, what is wrong, what is new and what changed.

    Args:
        explanation: of the story.
        width: of the terminal, in cells.
    """
    known = labels(explanation.language)
    parts: list[RenderableType] = []
    for sentence in explanation.sentences:
        table = Table.grid(padding=0, pad_edge=False)
        table.add_column(width=_INDENT, no_wrap=True, style="dim")
        table.add_column()
        table.add_row(f"{sentence.number:>2}", _marked([sentence], known, max(width - _INDENT, 8)))
        parts += [table, Padding(_details(sentence, known), (0, 0, 0, _INDENT))]
    return Group(*parts) if parts else Text(known.empty, style="dim")


def brief(explanation: Explanation) -> Table:
    """What a story is about."""
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    table.add_row(labels(explanation.language).brief, visible(explanation.brief))
    return table


def axes(explanations: Sequence[tuple[str, Explanation]]) -> Table:
    """The totals of stories of one language side by side.

    Args:
        explanations: each with its heading, one or more.
    """
    known = labels(explanations[0][1].language)
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(no_wrap=True)
    for _ in explanations:
        table.add_column(justify="right")
    table.add_column(style="dim", overflow="fold")
    if any(heading for heading, _ in explanations):
        table.add_row("", *(Text(heading, style="bold") for heading, _ in explanations), "")
    for axis, (name, meaning) in known.axis.items():
        values = [f"{getattr(explanation.totals, axis):.2f}" for _, explanation in explanations]
        table.add_row(name, *(Text(value, style="bold" if axis == "quality" else "") for value in values), meaning)
    return table


def legend(explanation: Explanation) -> Text:
    """What the shades mean."""
    known = labels(explanation.language)
    text = Text(f"{known.shades}: ", style="dim")
    for number, (shade, name) in enumerate(zip(SHADES, known.levels, strict=True)):
        text.append(" · " if number else "", style="dim")
        text.append(name, style=shade)
    return text


def _details(sentence: Sentence, known: Labels) -> Table:
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(no_wrap=True, style="dim", width=max(map(cell_len, known.kinds.values())))
    table.add_column(overflow="fold")
    for statement in sentence.statements:
        who = f"  ({statement.pronoun}{known.means}{statement.who})" if statement.pronoun else ""
        table.add_row(known.kinds[statement.kind], Text(statement.text + visible(who), style="dim"))
    if not sentence.statements:
        table.add_row(known.kinds[sentence.kind], "")
    for fault in sentence.faults:
        table.add_row(known.wrong, Text(visible(fault.text)))
    for label, more in ((known.new, True), (known.misled, False)):
        told = [f"{b.fact} {b.before:.2f} → {b.after:.2f}" for b in sentence.beliefs if (b.after > b.before) is more]
        if told:
            table.add_row(label, Text(" · ".join(told), style="dim"))
    for change in sentence.changes:
        table.add_row(known.changed, Text(f"{change.what}: {change.before} → {change.after}", style="dim"))
    least = min(sentence.tokens, key=lambda token: token.logprob)
    word = visible(least.text.strip())
    table.add_row(known.fluency, Text(known.lowest.format(sentence.fluency, word, least.logprob), style="dim"))
    return table


def _marked(sentences: Iterable[Sentence], known: Labels, width: int) -> Text:
    lines = [_Line()]
    for sentence in sentences:
        found = {mark.token: mark for mark in marks(sentence, known)}
        for place, token in enumerate(sentence.tokens):
            word, blank = visible(token.text.lstrip(" ")), token.text[:1] == " " and bool(lines[-1].text)
            if lines[-1].text and lines[-1].text.cell_len + blank + cell_len(word) > width:
                lines.append(_Line())
                blank = False
            line = lines[-1]
            line.text.append(" " * blank)
            mark = found.get(place)
            if mark is not None:
                style = "bold red" if mark.severe else "yellow"
                line.notes.append((line.text.cell_len, mark.text, style))
                line.text.append(word, style=f"{style} underline")
            else:
                line.text.append(word, style=SHADES[level(token.logprob)])
    return Text("\n").join(part for line in lines for part in (line.text, *_carets(line.notes, width)))


def _carets(notes: Sequence[tuple[int, str, str]], width: int) -> list[Text]:
    """Lines with a caret under each word and what is wrong beside it; a new line where two would meet."""
    lines: list[Text] = []
    for column, said, style in notes:
        start, text = column, f"^ {said}"
        if column + cell_len(text) > width and cell_len(said) < column:
            start, text = column - cell_len(said) - 1, f"{said} ^"
        if not lines or lines[-1].cell_len + 2 * bool(lines[-1]) > start:
            lines.append(Text())
        lines[-1].append(" " * (start - lines[-1].cell_len))
        lines[-1].append(text, style=style)
    return lines
