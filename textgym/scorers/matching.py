"""Matches with a reference: whether a completion says the same, and how many of its words are the same.

Rajpurkar et al. 2016 (SQuAD), whose evaluation leaves case, punctuation and articles out.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from textgym.scorers.base import register
from textgym.scorers.references import ReferenceScorer
from textgym.text.sentences import CJK

_ARTICLE = re.compile(r"\b(?:a|an|the)\b", re.IGNORECASE)
_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_CHARACTER = re.compile(f"([{CJK}])")


@register("exact_match")
@dataclass(frozen=True)
class ExactMatch(ReferenceScorer):
    """1 if the completion equals one of its references after normalisation, else 0; not applicable without any.

    Args:
        ignore_space: strip both ends and take every run of white space as one space.
        ignore_case: compare case-folded.
        ignore_punctuation: drop every character that Unicode calls punctuation.
        ignore_articles: drop the words a, an and the.
    """

    ignore_space: bool = True
    ignore_case: bool = False
    ignore_punctuation: bool = False
    ignore_articles: bool = False
    formula = "1 if normalised(completion) is among the normalised references else 0"
    source = "Rajpurkar et al. 2016, section 6.1"

    def compare(self, text: str, references: Sequence[str]) -> float:
        """1 for a match, else 0."""
        return float(self._normalise(text) in map(self._normalise, references))

    def _normalise(self, text: str) -> str:
        if self.ignore_case:
            text = text.casefold()
        if self.ignore_punctuation:
            text = "".join(c for c in text if not unicodedata.category(c).startswith("P"))
        if self.ignore_articles:
            text = _ARTICLE.sub(" ", text)
        return " ".join(text.split()) if self.ignore_space else text


@register("f1")
@dataclass(frozen=True)
class TokenF1(ReferenceScorer):
    """F1 of the words of a completion and of the reference that it is best with; not applicable without any.

    As the evaluation of SQuAD has it: lower-cased, without ASCII punctuation and without a, an and the; words count as
    often as they occur in both. A text without a word matches only a reference without one. Each Chinese or Japanese
    character is a word.
    """

    unit = "F1"
    formula = "2 |common words| / (|words of completion| + |words of reference|)"
    source = "Rajpurkar et al. 2016, section 6.1"

    def compare(self, text: str, references: Sequence[str]) -> float:
        """The best F1, in 0..1."""
        words = _squad_words(text)
        return max(_f1(words, _squad_words(reference)) for reference in references)


def _squad_words(text: str) -> list[str]:
    bare = _ARTICLE.sub(" ", text.lower().translate(_ASCII_PUNCTUATION))
    return _CHARACTER.sub(r" \1 ", bare).split()


def _f1(words: Sequence[str], of_reference: Sequence[str]) -> float:
    if not words or not of_reference:
        return float(not words and not of_reference)
    common = (Counter(words) & Counter(of_reference)).total()
    return 2 * common / (len(words) + len(of_reference))
