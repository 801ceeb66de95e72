"""BLEU, chrF, TER and ROUGE against the references of each prompt, as the libraries that papers cite compute them.

Papineni et al. 2002 with effective order (n-grams longer than the text do not count against it), Popovic 2015, Snover
et al. 2006, all divided by 100; Post 2018 for the implementation. Lin 2004 as Google's rouge-score has it. Either
library is imported when a text is first scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from typing import Any, Literal

import numpy as np

from textgym.errors import MissingExtraError, ScorerError
from textgym.scorers.base import Score, register
from textgym.scorers.references import ReferenceScorer
from textgym.text.sentences import words
from textgym.types import Scores, ScoringContext, TextBatch


@dataclass(frozen=True)
class _SacreBleu(ReferenceScorer):
    """A leaf that is one of sacreBLEU's metrics."""

    @property
    def set_level(self) -> bool:
        """Whether it is that of a corpus."""
        return bool(getattr(self, "corpus", False))

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,); of a corpus the same in every row that has references."""
        if not self.set_level:
            return super().score(batch)
        valid = np.array([bool(row) for row in batch.references or [()] * len(batch)])
        rows = np.flatnonzero(valid).tolist()
        values = np.zeros(len(batch))
        if rows:
            texts = [batch.completion_texts[row] for row in rows]
            # The library wants the first reference of every text, then the second of every text ...
            streams = [list(stream) for stream in zip_longest(*(batch.references[row] for row in rows))]
            values[rows] = self._of_hundred(_metric(self).corpus_score(texts, streams).score)
        return Scores(values, valid)

    def compare(self, text: str, references: Sequence[str]) -> float:
        """The metric of one text."""
        return self._of_hundred(_metric(self).sentence_score(text, list(references)).score)

    def _of_hundred(self, score: float) -> float:
        return min(score / 100.0, self.range[1])  # rounding takes a perfect match to 100.00000000000004

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
        corpus: whether all texts of a set are taken as one corpus, whose BLEU (of full order, as papers report it) each
            of them gets: for files and reports, never the reward of an episode.
    """

    n: int = 4
    tokenize: Literal["13a", "intl", "zh", "char", "none"] = "13a"
    lowercase: bool = False
    corpus: bool = False
    formula = "exp(min(0, 1 - r/c)) * (p_1 ... p_n)^(1/n)"
    source = "Papineni et al. 2002, section 2.3; Post 2018"
    unit = "BLEU / 100"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n < 1:
            raise ScorerError(f"bleu(n={self.n}): n counts words and must be at least 1")

    def build(self) -> Any:
        """BLEU as sacreBLEU has it; `force` keeps it from warning about text that is tokenized already."""
        from sacrebleu.metrics.bleu import BLEU

        return BLEU(
            lowercase=self.lowercase,
            tokenize=self.tokenize,
            max_ngram_order=self.n,
            effective_order=not self.corpus,
            force=True,
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
        corpus: whether all texts of a set are taken as one corpus, as in ``bleu``.
    """

    n: int = 6
    words: int = 0
    beta: int = 2
    lowercase: bool = False
    corpus: bool = False
    formula = "(1 + beta^2) P R / (beta^2 P + R), P and R means over n-grams of 1 to n characters"
    source = "Popovic 2015; Popovic 2017 for words"
    unit = "chrF / 100"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n < 1 or self.words < 0 or self.beta < 1:
            raise ScorerError(f"{self}: n and beta are at least 1, words at least 0")

    def build(self) -> Any:
        """The chrF of sacreBLEU."""
        from sacrebleu.metrics.chrf import CHRF

        return CHRF(char_order=self.n, word_order=self.words, beta=self.beta, lowercase=self.lowercase)


@register("ter")
@dataclass(frozen=True)
class Ter(_SacreBleu):
    """Translation edit rate: edits and shifts that turn a text into its nearest reference, for each word of it.

    From 0, where it is one of them, up without bound; above 1 for a text that is much longer. Shifts are searched for:
    a text of 60 words with many of its reference's, in another order, takes up to a second.

    Args:
        lowercase: whether case is ignored.
        punctuation: whether punctuation marks count.
        asian: whether each Chinese or Japanese character is a word.
        corpus: whether all texts of a set are taken as one corpus, as in ``bleu``.
    """

    lowercase: bool = True
    punctuation: bool = True
    asian: bool = False
    corpus: bool = False
    formula = "(insertions + deletions + substitutions + shifts) / |words of the references|"
    source = "Snover et al. 2006"
    range = (0.0, float("inf"))
    unit = "edits per word"
    higher_is_better = False

    def build(self) -> Any:
        """The TER of sacreBLEU."""
        from sacrebleu.metrics.ter import TER

        return TER(
            normalized=self.asian or not self.punctuation,
            no_punct=not self.punctuation,
            asian_support=self.asian,
            case_sensitive=not self.lowercase,
        )


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
    formula = "2 P R / (P + R) of n-grams, or of the longest common subsequence"
    source = "Lin 2004, sections 2 and 3"
    extra = "rouge"

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
