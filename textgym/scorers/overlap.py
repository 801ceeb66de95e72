"""BLEU, chrF and ROUGE against the references of each prompt, as the libraries that papers cite compute them.

Papineni et al. 2002 with effective order (n-grams longer than the text do not count against it), Popovic 2015, both
divided by 100; Post 2018 for the implementation. Lin 2004 as Google's rouge-score has it. Either library is imported
when a text is first scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from textgym.errors import MissingExtraError, ScorerError
from textgym.scorers.base import Score, register
from textgym.scorers.references import ReferenceScorer
from textgym.text.sentences import words
from textgym.types import ScoringContext


@dataclass(frozen=True)
class _SacreBleu(ReferenceScorer):
    """A leaf that is one of sacreBLEU's metrics."""

    def compare(self, text: str, references: Sequence[str]) -> float:
        """The metric of one text, in 0..1."""
        score: float = _metric(self).sentence_score(text, list(references)).score
        return min(score, 100.0) / 100.0  # rounding takes a perfect match to 100.00000000000004

    def build(self) -> Any:
        """The metric with this scorer's parameters."""
        raise NotImplementedError


@lru_cache(maxsize=64)
def _metric(scorer: _SacreBleu) -> Any:
    return scorer.build()


@register("bleu")
@dataclass(frozen=True)
class Bleu(_SacreBleu):
    """Sentence BLEU with effective order and exponential smoothing, in 0..1.

    Args:
        n: longest n-gram, in words.
        tokenize: sacreBLEU's tokenizer of words; ``zh`` for Chinese, ``char`` for characters.
        lowercase: whether case is ignored.
    """

    n: int = 4
    tokenize: Literal["13a", "intl", "zh", "char", "none"] = "13a"
    lowercase: bool = False
    unit = "BLEU / 100"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n < 1:
            raise ScorerError(f"bleu(n={self.n}): n counts words and must be at least 1")

    def build(self) -> Any:
        """BLEU as sacreBLEU has it; `force` keeps it from warning about text that is tokenized already."""
        from sacrebleu.metrics.bleu import BLEU

        return BLEU(
            lowercase=self.lowercase, tokenize=self.tokenize, max_ngram_order=self.n, effective_order=True, force=True
        )


@register("chrf")
@dataclass(frozen=True)
class Chrf(_SacreBleu):
    """Sentence chrF, in 0..1; with ``words=2`` chrF++.

    Args:
        n: longest n-gram, in characters.
        words: longest n-gram, in words; 0 leaves words out.
        beta: how many times as much recall counts as precision.
        lowercase: whether case is ignored.
    """

    n: int = 6
    words: int = 0
    beta: int = 2
    lowercase: bool = False
    unit = "chrF / 100"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n < 1 or self.words < 0 or self.beta < 1:
            raise ScorerError(f"{self}: n and beta are at least 1, words at least 0")

    def build(self) -> Any:
        """The chrF of sacreBLEU."""
        from sacrebleu.metrics.chrf import CHRF

        return CHRF(char_order=self.n, word_order=self.words, beta=self.beta, lowercase=self.lowercase)


@register("rouge")
@dataclass(frozen=True)
class Rouge(ReferenceScorer):
    """ROUGE-n or ROUGE-L with the reference that it is best with; a text without a word scores 0.

    Args:
        n: length of the n-grams, in words, 1 to 9; ``L`` for the longest common subsequence.
        measure: ``f1``, or the ``recall`` of the reference, or the ``precision`` of the text alone.
        tokenize: ``words`` is lower-cased words of any script, each Chinese character one; ``ascii`` is rouge-score's
            own tokenizer without stemming, for figures to compare with others': it sees English only.
    """

    n: int | Literal["L"] = 1
    measure: Literal["f1", "recall", "precision"] = "f1"
    tokenize: Literal["words", "ascii"] = "words"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n != "L" and not 1 <= self.n <= 9:
            raise ScorerError(f"rouge(n={self.n}): n counts words, from 1 to 9, or is 'L'")

    @property
    def unit(self) -> str:
        """The measure and the kind of ROUGE."""
        return f"ROUGE-{self.n} {self.measure}"

    def prepare(self, context: ScoringContext | None) -> Score:
        """Loads rouge-score.

        Raises:
            MissingExtraError: it is not installed.
        """
        _rouge(self)
        return self.score

    def compare(self, text: str, references: Sequence[str]) -> float:
        """The measure of one text with its best reference, in 0..1."""
        kind, measure = f"rouge{self.n}", self.measure.replace("f1", "fmeasure")
        return max(float(getattr(_rouge(self).score(one, text)[kind], measure)) for one in references)


@lru_cache(maxsize=64)
def _rouge(scorer: Rouge) -> Any:
    """rouge-score's scorer; it takes any object that has `tokenize`."""
    try:
        from rouge_score import rouge_scorer, tokenizers
    except ImportError as error:
        raise MissingExtraError("rouge-score", "rouge", "the scorer rouge") from error
    tokenizer = _Words() if scorer.tokenize == "words" else tokenizers.DefaultTokenizer()
    return rouge_scorer.RougeScorer([f"rouge{scorer.n}"], tokenizer=tokenizer)


class _Words:
    tokenize = staticmethod(words)
