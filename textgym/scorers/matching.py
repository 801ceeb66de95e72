"""Exact match: whether a completion says what one of its references says."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from textgym.scorers.base import register
from textgym.scorers.references import ReferenceScorer


@register("exact_match")
@dataclass(frozen=True)
class ExactMatch(ReferenceScorer):
    """1 if the completion equals one of its references after normalisation, else 0; not applicable without any.

    Args:
        ignore_space: strip both ends and take every run of white space as one space.
        ignore_case: compare case-folded.
        ignore_punctuation: drop every character that Unicode calls punctuation.
    """

    ignore_space: bool = True
    ignore_case: bool = False
    ignore_punctuation: bool = False

    def compare(self, text: str, references: Sequence[str]) -> float:
        """1 for a match, else 0."""
        return float(self._normalise(text) in map(self._normalise, references))

    def _normalise(self, text: str) -> str:
        if self.ignore_case:
            text = text.casefold()
        if self.ignore_punctuation:
            text = "".join(c for c in text if not unicodedata.category(c).startswith("P"))
        return " ".join(text.split()) if self.ignore_space else text
