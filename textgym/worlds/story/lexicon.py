"""A lexicon: the words and templates of one language, and the ids of its vocabulary.

A template is a row of words and slots: ``A`` a person who acts, ``B`` another person, ``O`` an object with or without
its colour, ``o`` an object without, ``L`` a place, ``C`` a colour, ``<name>`` a word of an open class, ``[name]`` the
form that agrees with the object.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64

from textgym.text.pieces import LexiconTokenizer
from textgym.worlds.story.events import Kind

WORDS_A_SENTENCE = 7
"""About how many tokens a sentence has: a run of so many that is no sentence counts as one."""


@dataclass(frozen=True)
class Relative:
    """A relative clause: what it states, and where it stands around the name ``A``, e.g. ``A , who had the O2 ,``."""

    kind: Kind
    text: str


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Words and templates.

    Attributes:
        name: language and preset, e.g. "en-small".
        people: names, each with its gender, "m" or "f".
        places: names of places.
        objects: nouns, each with the number of the form that agrees with it.
        colours: adjectives.
        templates: sentences by type, without the full stop.
        noun_phrases: an object without and with its colour, written with ``o`` and ``C``.
        pronouns: for "m" and "f".
        connectives: what may open a sentence.
        stop: ends a sentence.
        comma: between facts of a brief.
        bar: between its places and its facts.
        classes: open classes by name.
        forms: words that agree with an object by name, in the order of their numbers.
        before: names of forms that stand before their noun.
        relatives: relative clauses behind or before a name.
        blank: what stands before every word.
        zipf: exponent of the frequencies of names, nouns and fillers; 0 for equal ones.
    """

    name: str
    people: Sequence[tuple[str, str]]
    places: Sequence[str]
    objects: Sequence[tuple[str, int]]
    colours: Sequence[str]
    templates: Mapping[Kind, Sequence[str]]
    noun_phrases: tuple[str, str]
    pronouns: tuple[str, str]
    connectives: Sequence[str]
    stop: str
    comma: str
    bar: str
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    forms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    before: frozenset[str] = frozenset()
    relatives: Sequence[Relative] = ()
    blank: str = " "
    zipf: float = 0.0

    @cached_property
    def tokenizer(self) -> LexiconTokenizer:
        """A token a word. A place that opens a text has no blank before it, and an id of its own."""
        words = [
            *(name for name, _ in self.people),
            *self.places,
            *(noun for noun, _ in self.objects),
            *self.colours,
            *self.pronouns,
            *self.connectives,
            *(word for words in self.classes.values() for word in words),
            *(word for words in self.forms.values() for word in words),
            *self.literals,
        ]
        marks = [self.stop, self.comma, self.bar]
        pieces = dict.fromkeys(f"{self.blank}{word}" for word in [*words, *marks])
        return LexiconTokenizer((*pieces, *(self.places if self.blank else ())))

    @property
    def literals(self) -> list[str]:
        """The words that templates, noun phrases and relative clauses hold themselves."""
        texts = [text for kind in self.templates for text in self.templates[kind]]
        texts += [*self.noun_phrases, *(relative.text for relative in self.relatives)]
        slots = {"A", "B", "O", "O2", "o", "L", "L2", "C"}
        return [word for text in texts for word in text.split() if word not in slots and word[0] not in "<["]

    def id_of(self, word: str) -> int:
        """The id of a word, written as in the lexicon."""
        return int(self._ids[word])

    def ids(self, words: Sequence[str]) -> Int64[np.ndarray, " N"]:
        """The ids of words."""
        return np.array([self.id_of(word) for word in words], dtype=np.int64)

    @cached_property
    def _ids(self) -> dict[str, int]:
        pieces = self.tokenizer.pieces
        known = pieces[: len(pieces) - len(self.places)] if self.blank else pieces
        return {piece.removeprefix(self.blank): index for index, piece in enumerate(known, start=3)}

    @cached_property
    def opening_places(self) -> Int64[np.ndarray, " N"]:
        """The ids of the places where they open a text."""
        if not self.blank:
            return self.ids(self.places)
        size = self.tokenizer.vocab_size
        return np.arange(size - len(self.places), size)

    def frequencies(self, count: int) -> Float64[np.ndarray, " N"]:
        """Zipf's law over `count` words, the first of a list the most frequent."""
        weights: Float64[np.ndarray, " N"] = np.arange(1, count + 1, dtype=np.float64) ** -self.zipf
        weights /= weights.sum()
        return weights

    def text(self, words: Sequence[str]) -> str:
        """Words as a text that stands behind another."""
        return "".join(f"{self.blank}{word}" for word in words)
