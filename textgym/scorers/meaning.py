"""Data-to-text: does a text say what its meaning representation asks for, and nothing else?

A meaning representation is a list of slots with values, ``name[Alimentum], area[city centre], familyFriendly[no]``. A
value is said where its words stand in the text, one after the other, whatever their case, accents, hyphens and a
leading article; "five" is 5. Of ``yes`` and ``no`` the words of the slot are looked for, without or with a negation in
their neighbourhood. The values of E2E's restaurants are also said as people say them (`textgym.scorers.slot_phrases`).
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from textgym.errors import ScoringFailure
from textgym.scorers.base import Scorer, register
from textgym.scorers.slot_phrases import NEGATIVE, OPEN, PHRASINGS, YES_NO, Phrasing
from textgym.text.sentences import CJK
from textgym.types import Scores, ScoringContext, TextBatch

_SLOT = re.compile(r"(?:^|[,;:\n])\s*([^\W\d][\w ]*?)\s*\[([^\[\]]*)\]")
_TOKEN = re.compile(
    rf"[{CJK}]|(?:(?![{CJK}])[^\W_])+(?:'(?:(?![{CJK}])[^\W_])+)*|[£$€]|(?P<end>[.!?。！？])|(?P<pause>[,;:，；：、])"
)
_NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {word: str(i) for i, word in enumerate(_NUMBER_WORDS)}
_NOT = (
    r"(?:not|no|non|never|neither|nor|cannot|without|\w+n't|(?:is|are|do|does|wo|ca)nt"
    r"|un\w*friendly|unsuitable|inappropriate|discourag\w+)"
)
_NEAR = r"(?: (?!(?:but|and|[.,])(?: |$))[^ ]+){0,3}"
_TAKEN = "\x00"
"""Stands for a name that was found, so that its words are not taken for other values."""


@register("slots")
@dataclass(frozen=True)
class Slots(Scorer):
    """Coverage of the slots of a meaning representation, or the slot error rate.

    Errors are slots that are not said, slots of E2E that are said with a value that was not asked for, and sentences in
    which a slot is said again (a name may be). Rows without a meaning representation are not applicable.

    Args:
        form: ``coverage``, the share of slots that are said, or ``error_rate``.
        field: the field of a row's metadata that holds the meaning representation; where it is missing, the prompt.
    """

    form: Literal["coverage", "error_rate"] = "coverage"
    field: str = "mr"
    positional = 1
    formula = "|slots said| / |slots|, or (missing + hallucinated + duplicated) / |slots|"
    source = "Wen et al. 2015; Novikova et al. 2017 for E2E"
    prefix_scorable = True

    @property
    def range(self) -> tuple[float, float]:
        """A share; a rate has no upper end."""
        return (0.0, 1.0 if self.form == "coverage" else float("inf"))

    @property
    def unit(self) -> str:
        """What is counted for each slot that is asked for."""
        return "share of slots" if self.form == "coverage" else "errors per slot"

    @property
    def higher_is_better(self) -> bool:
        """Of coverage."""
        return self.form == "coverage"

    def partial_in(self, context: ScoringContext | None) -> bool:
        """Unless every text of the task has the field."""
        lacks = getattr(context, "lacks", None)
        return lacks is None or bool(lacks(self.field))

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,).

        Raises:
            ScoringFailure: the field holds something other than text.
        """
        values, valid = np.zeros(len(batch)), np.zeros(len(batch), dtype=bool)
        for row, text in enumerate(batch.completion_texts):
            slots = parse_meaning(self._meaning(batch, row))
            if slots:
                errors = slot_errors(slots, text)
                share = errors.missing / len(slots)
                values[row] = 1 - share if self.form == "coverage" else errors.total / len(slots)
                valid[row] = True
        return Scores(values, valid)

    def _meaning(self, batch: TextBatch, row: int) -> str:
        metadata: Mapping[str, Any] = batch.metadata[row] if batch.metadata else {}
        given = metadata.get(self.field)
        if given is None:
            return batch.prompt_texts[row]
        if not isinstance(given, str):
            raise ScoringFailure(f"a meaning representation is text, 'name[Alimentum], area[riverside]', not {given!r}")
        return given


@dataclass(frozen=True)
class SlotErrors:
    """What is wrong with a text, in slots.

    Attributes:
        missing: slots that are not said.
        hallucinated: slots that are said with a value that was not asked for.
        duplicated: sentences in which a slot is said once more.
    """

    missing: int
    hallucinated: int
    duplicated: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.missing + self.hallucinated + self.duplicated


def parse_meaning(text: str) -> list[tuple[str, str]]:
    """Slots and values of a meaning representation: names in lower case without spaces, values normalised.

    >>> parse_meaning("name[The Mill], customer rating[5 out of 5], familyFriendly[no]")
    [('name', 'mill'), ('customerrating', '5 out of 5'), ('familyfriendly', 'no')]
    """
    found = [(_key(name), _value(value)) for name, value in _SLOT.findall(text)]
    return list(dict.fromkeys((name, value) for name, value in found if name and value))


def slot_errors(slots: Sequence[tuple[str, str]], text: str) -> SlotErrors:
    """Counts the errors of a text.

    Args:
        slots: as `parse_meaning` gives them.
        text: what is to say them.
    """
    rest = f" {_normal(text)} "
    missing = duplicated = 0
    for _, value in sorted(_names(slots), key=lambda slot: -len(slot[1])):
        rest, times = _literal(value).subn(f" {_TAKEN} ", rest)
        missing += not times
    for name, value in slots:
        if _is_name(name, value):
            continue
        said = {rest.count(" . ", 0, start) for start in _places(name, value, rest)}
        missing += not said
        duplicated += max(len(said) - 1, 0)
    return SlotErrors(missing, _hallucinated(slots, rest), duplicated)


def _hallucinated(slots: Sequence[tuple[str, str]], rest: str) -> int:
    """Slots of E2E that the text says something else about; 0 where the meaning is of another domain."""
    if not all(name in OPEN or name in PHRASINGS or name in YES_NO for name, _ in slots):
        return 0
    asked: dict[str, set[str]] = {}
    for name, value in slots:
        asked.setdefault(name, set()).add(value)
    count = 0
    for name, phrasings in PHRASINGS.items():
        wanted = asked.get(name, set())
        others = [p for p in phrasings if p.telling and not wanted & {*p.values}]
        count += any(_whole(p.pattern).search(rest) for p in others)
    for name in YES_NO:
        wrong = {"yes", "no"} - asked.get(name, set())
        count += any(next(_places(name, value, rest), None) is not None for value in wrong)
    return count


def _names(slots: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [slot for slot in slots if _is_name(*slot)]


def _is_name(name: str, value: str) -> bool:
    return value not in ("yes", "no") and _phrasing(name, value) is None


def _phrasing(name: str, value: str) -> Phrasing | None:
    return next((phrasing for phrasing in PHRASINGS.get(name, ()) if value in phrasing.values), None)


def _places(name: str, value: str, rest: str) -> Iterator[int]:
    """Where in a normalised text a value is said."""
    phrasing = _phrasing(name, value)
    if phrasing is not None:
        yield from (found.start() for found in _whole(phrasing.pattern).finditer(rest))
        return
    for found in _whole(YES_NO.get(name) or re.escape(name)).finditer(rest):
        if _negated(rest, found) is (value == "no"):
            yield found.start()
    if value == "no" and name in NEGATIVE:
        yield from (found.start() for found in _whole(NEGATIVE[name]).finditer(rest))


def _negated(text: str, found: re.Match[str]) -> bool:
    before, after = text[max(0, found.start() - 80) : found.start()], text[found.end() : found.end() + 80]
    return bool(_NOT_BEFORE.search(before) or _NOT_AFTER.match(after))


_NOT_BEFORE = re.compile(rf" {_NOT}{_NEAR}$")
_NOT_AFTER = re.compile(rf"(?: (?:friendly|is|are|was|were|should|must|may))* {_NOT} ")


@lru_cache(maxsize=4096)
def _whole(pattern: str) -> re.Pattern[str]:
    return re.compile(rf" (?:{pattern})(?= )")


@lru_cache(maxsize=4096)
def _literal(value: str) -> re.Pattern[str]:
    return re.compile(rf" {re.escape(value)}(?= )")


def _key(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


def _value(text: str) -> str:
    return re.sub(r"^(?:the|an?) (?=.)", "", _normal(text))


def _normal(text: str) -> str:
    """Tokens with one space between them: no case, no accents, digits for number words, ``.`` and ``,`` for marks."""
    plain = unicodedata.normalize("NFKD", text.replace("’", "'")).casefold()
    plain = unicodedata.normalize("NFC", "".join(c for c in plain if not unicodedata.combining(c)))
    return " ".join(map(_token, _TOKEN.finditer(plain)))


def _token(found: re.Match[str]) -> str:
    if found["end"]:
        return "."
    return "," if found["pause"] else _NUMBERS.get(found[0], found[0])
