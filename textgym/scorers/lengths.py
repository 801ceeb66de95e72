"""Length: how long a completion is, or how far from where it should be."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from textgym.errors import ScorerError
from textgym.scorers.base import Scorer, Stream, register
from textgym.scorers.references import ReferenceScorer
from textgym.types import Scores, ScoringContext, TextBatch, TokenIds


@register("length")
@dataclass(frozen=True)
class Length(Scorer):
    """Tokens of a completion, EOS included; with a target or bounds, minus the tokens by which it misses them.

    Args:
        target: the length that scores 0; every token more or less costs 1.
        min: shorter completions lose 1 for each token that is missing.
        max: longer completions lose 1 for each token too many.
    """

    target: int | None = None
    min: int | None = None
    max: int | None = None
    formula = "T, or -|T - target|, or -max(min - T, T - max, 0)"
    source = ""
    unit = "tokens"
    causal = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target is not None and (self.min is not None or self.max is not None):
            raise ScorerError(f"{self}: a target stands alone; bounds are min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ScorerError(f"{self}: min is above max")
        if any(bound is not None and bound < 0 for bound in (self.target, self.min, self.max)):
            raise ScorerError(f"{self}: lengths count tokens and cannot be negative")

    @property
    def _plain(self) -> bool:
        return self.target is None and self.min is None and self.max is None

    @property
    def range(self) -> tuple[float, float]:
        """From 0 up; with a target or bounds, from 0 down."""
        return (0.0, float("inf")) if self._plain else (-float("inf"), 0.0)

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,); tokens (B, T) where every token counts 1."""
        lengths = np.array([len(ids) for ids in batch.completions], dtype=np.float64)
        tokens = (np.arange(int(lengths.max(initial=0))) < lengths[:, None]).astype(float) if self._plain else None
        return Scores(self.judge(lengths), tokens=tokens)

    def judge(self, lengths: Float64[np.ndarray, " B"]) -> Float64[np.ndarray, " B"]:
        """Scores of completions of these lengths."""
        if self._plain:
            return lengths
        low, high = (self.min, self.max) if self.target is None else (self.target, self.target)
        values: Float64[np.ndarray, " B"] = 0.0 - np.abs(lengths - np.clip(lengths, low, high))
        return values

    def stream(self, rows: int, context: ScoringContext) -> Stream:
        """Counts."""
        return _Count(self, rows)


class _Count:
    def __init__(self, scorer: Length, rows: int) -> None:
        self._scorer, self._lengths = scorer, np.zeros(rows)

    def begin(self, rows: Int64[np.ndarray, " N"], prompts: Sequence[TokenIds]) -> Float64[np.ndarray, " N"]:
        self._lengths[rows] = 0
        return self._scorer.judge(self._lengths[rows])

    def advance(self, rows: Int64[np.ndarray, " N"], tokens: Int64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
        self._lengths[rows] += 1
        return self._scorer.judge(self._lengths[rows])


@register("brevity")
@dataclass(frozen=True)
class Brevity(ReferenceScorer):
    """BLEU's brevity penalty as a factor: 1 for a completion that is long enough, less for a shorter one.

    Lengths count tokens without EOS. Of several references the one whose length is nearest counts, the shorter of two.
    An empty completion scores 0. ``brevity*x`` is worth less than x to short texts.

    Args:
        target: the length that is enough; none for that of the references.
    """

    target: int | None = None
    positional = 1
    formula = "min(1, exp(1 - r/c)), c = |completion|, r = |reference| or target"
    source = "Papineni et al. 2002, section 2.2.2"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target is not None and self.target < 1:
            raise ScorerError(f"{self}: a length that is enough counts tokens and is at least 1")

    @property
    def needs(self) -> frozenset[str]:
        """References, unless there is a target."""
        return frozenset({"references"}) if self.target is None else frozenset()

    def partial_in(self, context: ScoringContext | None) -> bool:
        """Where not every text of the task has references, and there is no target."""
        return self.target is None and super().partial_in(context)

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,)."""
        encode = batch.tokenizer.encode
        if self.target is None:
            enough = [[len(encode(text)) for text in row] for row in batch.references or [()] * len(batch)]
        else:
            enough = [[self.target]] * len(batch)
        values = [_brevity(len(ids), row) if row else 0.0 for ids, row in zip(batch.content, enough, strict=True)]
        return Scores(np.array(values, dtype=np.float64), np.array([bool(row) for row in enough]))


def _brevity(length: int, enough: Sequence[int]) -> float:
    nearest = min(enough, key=lambda other: (abs(other - length), other))
    if length >= nearest:
        return 1.0
    return math.exp(1 - nearest / length) if length else 0.0
