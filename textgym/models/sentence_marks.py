"""What can be seen of a sentence without a parser: its words, its quotation marks, and what it speaks of."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from textgym.text.sentences import words

COMMON = 150
"""So many most frequent words of a corpus, but no more than a fifth, count as function words; entities are others."""

INDEFINITE = frozenset(("a", "an", "another", "one", "some"))
DEFINITE = frozenset(("the", "that", "this", "these", "those"))
POSSESSIVE = frozenset(("his", "her", "their", "my", "your", "its", "our"))
PRONOUNS = frozenset(
    ("he", "she", "it", "they", "him", "her", "his", "their", "them", "i", "you", "we", "me", "us", "my", "your")
)

DETERMINERS = (INDEFINITE, DEFINITE, POSSESSIVE)
BARE, NAME = len(DETERMINERS), len(DETERMINERS) + 1
KINDS = NAME + 1
"""Kinds of mention: behind an indefinite, a definite or a possessive determiner, without one, by a capitalised name."""

BLOCK = 6
"""A quotation that is never closed holds at most so many sentences together."""

_NAMES = re.compile(r"(?<=[^\s.!?\"“”] )[A-Z]\w+")
_QUOTES = re.compile(r"[\"“”]")


@dataclass(frozen=True)
class Marks:
    """What is seen of one sentence.

    Attributes:
        words: lower-cased, in order.
        attributes: by name, e.g. ``word the`` or ``opens a quotation``.
        mentions: (word, kind of mention) of each content word; content is what `observe` was not told is common.
        odd: whether its quotation marks do not pair, so that a quotation goes on beyond it, or ends in it.
    """

    words: tuple[str, ...]
    attributes: dict[str, float]
    mentions: tuple[tuple[str, int], ...]
    odd: bool


def common_words(sentences: Iterable[str]) -> frozenset[str]:
    """The most frequent words, ties by the alphabet."""
    counts = Counter(word for sentence in sentences for word in words(sentence))
    return frozenset(sorted(counts, key=lambda word: (-counts[word], word))[: min(COMMON, len(counts) // 5)])


def observe(sentence: str, common: AbstractSet[str]) -> Marks:
    """The marks of a sentence; `common` words are no entities."""
    found = words(sentence)
    names = {name.lower() for name in _NAMES.findall(sentence)}
    mentions = [(word, _kind(found, at, names, common)) for at, word in enumerate(found) if word not in common]
    count = max(1, len(found))
    attributes = {f"word {word}": 1.0 for word in found}
    attributes |= {f"begins {' '.join(found[:n])}": 1.0 for n in (1, 2) if len(found) >= n}
    attributes |= _quotation(sentence.strip())
    attributes["length"] = math.log1p(len(found))
    attributes["short"], attributes["long"] = float(len(found) < 6), float(len(found) > 30)
    attributes["pronouns"] = sum(word in PRONOUNS for word in found) / count
    attributes["content"] = len(mentions) / count
    attributes["a name"] = float(any(kind == NAME for _, kind in mentions))
    attributes["something new"] = float(any(kind == 0 for _, kind in mentions))
    shown = {name: value for name, value in attributes.items() if value}
    return Marks(tuple(found), shown, tuple(mentions), "quotation goes on" in shown)


def _kind(found: Sequence[str], at: int, names: AbstractSet[str], common: AbstractSet[str]) -> int:
    """By the nearest determiner at most two words before, not across another function word."""
    if found[at] in names:
        return NAME
    for before in reversed(found[max(0, at - 2) : at]):
        for kind, determiners in enumerate(DETERMINERS):
            if before in determiners:
                return kind
        if before in common:
            break
    return BARE


def _quotation(text: str) -> dict[str, float]:
    """Where quotations begin and end, and the mark at the end of the sentence."""
    marks = [match.start() for match in _QUOTES.finditer(text)]
    odd = len(marks) % 2 == 1
    bare = text.rstrip("\"'“”‘’")
    return {
        f"ends in {bare[-1:]}": 1.0,
        "begins quoted": float(text[:1] in tuple("\"'“‘")),
        "ends quoted": float(text[-1:] in tuple('"”')),
        "quotes": float(bool(marks)),
        "quotation goes on": float(odd),
        "closes a quotation": float(odd and marks[0] > 0 and text[marks[0] - 1] != " "),
        "opens a quotation": float(odd and (marks[-1] == 0 or text[marks[-1] - 1] == " ")),
    }


def blocks(marks: Sequence[Marks]) -> list[list[int]]:
    """Sentences that belong to one quotation stand together: what a shuffle of a text moves as one piece."""
    out: list[list[int]] = []
    inside = False
    for place, seen in enumerate(marks):
        if inside and len(out[-1]) < BLOCK:
            out[-1].append(place)
        else:
            out.append([place])
            inside = False
        inside ^= seen.odd
    return out
