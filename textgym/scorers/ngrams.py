"""Repetition and distinctness: how many of a completion's n-grams it has said before.

rep-n      = 1 - |distinct n-grams| / |n-grams|   (Welleck et al. 2020, section 6.1)
distinct-n =     |distinct n-grams| / |n-grams|   (Li et al. 2016, section 5.2, within one text)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from textgym.errors import ScorerError
from textgym.scorers.base import Scorer, Stream, register
from textgym.types import Scores, ScoringContext, TextBatch, TokenIds


@register("repetition")
@dataclass(frozen=True)
class Repetition(Scorer):
    """Share of a completion's n-grams that occurred in it before.

    Causal, reference-free; EOS is left out. A completion shorter than n scores 0. A token's contribution is its
    share of the n-grams, if the n-gram that it closes was seen before.

    Args:
        n: length of the n-grams, in tokens; 4 is that of the paper.
    """

    n: int = 4
    range = (0.0, 1.0)
    unit = "share of n-grams"
    higher_is_better = False
    causal = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_order(self.name, self.n)

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,), tokens (B, T)."""
        return _shares(batch, self.n, seen_before=True)

    def stream(self, rows: int, context: ScoringContext) -> Stream:
        """O(1) a token: one set of seen n-grams a row."""
        return _SeenNgrams(rows, self.n, context.tokenizer.eos_id, seen_before=True)


@register("distinct")
@dataclass(frozen=True)
class Distinct(Scorer):
    """Share of a completion's n-grams that are new in it.

    Causal, reference-free; EOS is left out. A completion shorter than n scores 0: it says nothing distinct.

    Args:
        n: length of the n-grams, in tokens.
    """

    n: int = 2
    range = (0.0, 1.0)
    unit = "share of n-grams"
    causal = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_order(self.name, self.n)

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,), tokens (B, T)."""
        return _shares(batch, self.n, seen_before=False)

    def stream(self, rows: int, context: ScoringContext) -> Stream:
        """O(1) a token: one set of seen n-grams a row."""
        return _SeenNgrams(rows, self.n, context.tokenizer.eos_id, seen_before=False)


def _check_order(name: str, n: int) -> None:
    if n < 1:
        raise ScorerError(f"{name}(n={n}): n counts tokens and must be at least 1")


def _shares(batch: TextBatch, n: int, *, seen_before: bool) -> Scores:
    """Share of the n-grams that were seen before, or that were not."""
    values = np.zeros(len(batch))
    tokens = np.zeros((len(batch), max(map(len, batch.completions), default=0)))
    for row, ids in enumerate(batch.content):
        hits = [seen is seen_before for seen in _seen(ids, n)]
        if hits:
            values[row] = sum(hits) / len(hits)
            tokens[row, n - 1 : len(ids)] = np.array(hits) / len(hits)
    return Scores(values, tokens=tokens)


def _seen(ids: TokenIds | Sequence[int], n: int) -> list[bool]:
    """For each n-gram, whether it occurred before; one entry for each token from the n-th on."""
    known: set[bytes] = set()
    data, size = np.ascontiguousarray(ids, dtype=np.int32).tobytes(), 4
    seen = []
    for start in range(len(ids) - n + 1):
        gram = data[start * size : (start + n) * size]
        seen.append(gram in known)
        known.add(gram)
    return seen


class _SeenNgrams:
    """Shares of n-grams that were seen before, or that were not; EOS is passed over."""

    def __init__(self, rows: int, n: int, eos_id: int, *, seen_before: bool) -> None:
        self._n, self._eos, self._seen_before = n, eos_id, seen_before
        self._known: list[set[tuple[int, ...]]] = [set() for _ in range(rows)]
        self._last: list[tuple[int, ...]] = [()] * rows
        self._hits, self._count = np.zeros(rows), np.zeros(rows)

    def begin(self, rows: Int64[np.ndarray, " N"], prompts: Sequence[TokenIds]) -> Float64[np.ndarray, " N"]:
        for row in rows.tolist():
            self._known[row], self._last[row] = set(), ()
        self._hits[rows] = self._count[rows] = 0
        return np.zeros(len(rows))

    def advance(self, rows: Int64[np.ndarray, " N"], tokens: Int64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
        for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
            if token == self._eos:
                continue
            gram = (*self._last[row], token)
            if len(gram) == self._n:
                self._hits[row] += (gram in self._known[row]) is self._seen_before
                self._count[row] += 1
                self._known[row].add(gram)
                gram = gram[1:]
            self._last[row] = gram
        shares: Float64[np.ndarray, " N"] = self._hits[rows] / np.maximum(self._count[rows], 1)
        return shares
