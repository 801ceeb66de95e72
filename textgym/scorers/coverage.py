"""Keyword coverage: how many of the words that a text is asked to hold it does hold.

The coverage of CommonGen (Lin et al. 2020, section 4) without its lemmatisation: a form is met only by itself.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from textgym.errors import ScorerError, ScoringFailure
from textgym.scorers.base import Scorer, register
from textgym.text.sentences import CJK
from textgym.types import Scores, ScoringContext, TextBatch

_DEFAULT_FIELD = "concepts"
_COMMA = re.compile("[,，、\n]")
_SPACED = re.compile(rf"[^\W{CJK}]")
"""A character that makes one word with its neighbour of the same kind."""


@register("keywords")
@dataclass(frozen=True)
class Keywords(Scorer):
    """Share of the required words that occur in a completion, each counted once.

    Case is ignored. An English word counts as a whole word ("art" is not in "party"), a Chinese or Japanese one
    wherever its characters stand; a phrase may be broken by any white space. Inflected forms are other words.

    Args:
        words: the required words or phrases, separated by commas; none to take them from the metadata.
        field: the field of a row's metadata that holds them, a list or a text with commas. A row without it, or with
            an empty one, is not applicable.
    """

    words: str | None = None
    field: str = _DEFAULT_FIELD
    formula = "|required words that occur| / |required words|"
    source = "Lin et al. 2020 (CommonGen), section 4"
    positional = 1
    range = (0.0, 1.0)
    unit = "share of keywords"
    prefix_scorable = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.words is None:
            return
        if self.field != _DEFAULT_FIELD:
            raise ScorerError(f"{self}: the words are given, or stand in a field of the metadata; leave out one")
        if not _keywords(self.words):
            raise ScorerError(f"{self}: there is no word in it; for example keywords('dog, ball')")

    def partial_in(self, context: ScoringContext | None) -> bool:
        """Where the words come from the metadata, and not every text of the task has them."""
        if self.words is not None:
            return False
        lacks = getattr(context, "lacks", None)  # a task's knows all its prompts
        if lacks is not None:
            return bool(lacks(self.field))
        rows = () if context is None else context.references().metadata
        return not (rows and all(map(self._required, rows)))

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,).

        Raises:
            ScoringFailure: the field holds something other than words.
        """
        if self.words is None:
            rows = [self._required(row) for row in batch.metadata or [{}] * len(batch)]
        else:
            rows = [_keywords(self.words)] * len(batch)
        texts = map(_folded, batch.completion_texts)
        values = [
            sum(_holds(text, word) for word in required) / max(len(required), 1)
            for text, required in zip(texts, rows, strict=True)
        ]
        return Scores(np.array(values, dtype=np.float64), np.array([bool(required) for required in rows]))

    def _required(self, metadata: Mapping[str, Any]) -> list[str]:
        """The distinct words that a row's metadata ask for."""
        return _keywords(metadata.get(self.field))


def _keywords(given: object) -> list[str]:
    """Distinct words, folded, from a list or from a text with commas; none from None."""
    parts = _COMMA.split(given) if isinstance(given, str) else given or []
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise ScoringFailure(f"keywords are a list of words, or a text with commas between them, not {given!r}")
    return list(dict.fromkeys(filter(None, (_folded(part).strip() for part in parts))))


def _folded(text: str) -> str:
    """Without case, with composed characters, and with one space for any run of white space."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", text.casefold()))


def _holds(text: str, word: str) -> bool:
    """Whether a folded text holds a folded word as a whole."""
    start = text.find(word)
    while start >= 0:
        if not (_joined(text, start) or _joined(text, start + len(word))):
            return True
        start = text.find(word, start + 1)
    return False


def _joined(text: str, at: int) -> bool:
    """Whether the characters before and at a place belong to one word."""
    return 0 < at < len(text) and all(map(_SPACED.match, text[at - 1 : at + 1]))
