"""BLEU and chrF against the references of each prompt, as sacreBLEU computes them, divided by 100.

Papineni et al. 2002 with effective order (n-grams longer than the text do not count against it), Popovic 2015;
Post 2018 for the implementation. sacrebleu is imported when a text is first scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from textgym.errors import ScorerError
from textgym.scorers.base import register
from textgym.scorers.references import ReferenceScorer


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
