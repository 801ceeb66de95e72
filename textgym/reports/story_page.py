"""Explained stories as one self-contained HTML page: no network, no scripts, light and dark, for screens and paper."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from textgym.errors import TaskError
from textgym.reports.labels import Labels, labels
from textgym.reports.marks import Mark, level, marks
from textgym.reports.templates import template
from textgym.worlds.story.explanation import Explanation, Sentence


@dataclass(frozen=True)
class _Word:
    blank: str
    text: str
    logprob: float
    level: int
    fault: str

    @property
    def says(self) -> bool:
        """Whether it is more than a mark."""
        return any(character.isalnum() for character in self.text)


@dataclass(frozen=True)
class _Row:
    sentence: Sentence
    words: tuple[_Word, ...]
    marks: tuple[Mark, ...]
    state: str


@dataclass(frozen=True)
class _Story:
    heading: str
    explanation: Explanation
    sentences: tuple[_Row, ...]
    totals: dict[str, float]


def story_page(stories: Sequence[tuple[str, Explanation]]) -> str:
    """A page about stories of one language, each with its heading; an empty heading for none.

    Whatever a story holds is escaped, and characters that cannot be seen are shown as U+FFFD.

    Raises:
        TaskError: no story, or stories in several languages.
    """
    languages = {explanation.language for _, explanation in stories}
    if len(languages) != 1:
        raise TaskError(f"a page is about stories in one language; given: {', '.join(sorted(languages)) or 'no story'}")
    known = labels(languages.pop())
    rows = [_Story(heading, one, _rows(one, known), asdict(one.totals)) for heading, one in stories]
    return template("story_page.html").render(language=stories[0][1].language, labels=known, stories=rows)


def _rows(explanation: Explanation, known: Labels) -> tuple[_Row, ...]:
    return tuple(_row(sentence, known) for sentence in explanation.sentences)


def _row(sentence: Sentence, known: Labels) -> _Row:
    found = marks(sentence, known)
    said = {mark.token: mark.text for mark in found}
    words = []
    for place, token in enumerate(sentence.tokens):
        text = token.text.lstrip(" ")
        blank = " " if place and len(text) < len(token.text) else ""
        word = _Word(blank, text, token.logprob, level(token.logprob), said.get(place, ""))
        words.append(word if word.says else replace(word, blank="\u00a0" * len(blank)))  # no line begins with a mark
    state = "wrong" if any(mark.severe for mark in found) else "idle" if found else ""
    return _Row(sentence, tuple(words), tuple(found), state)
