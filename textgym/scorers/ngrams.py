"""Repetition and distinctness: how many of a completion's n-grams it has said before.

rep-n      = 1 - |distinct n-grams| / |n-grams|   (Welleck et al. 2020, section 6.1)
distinct-n =     |distinct n-grams| / |n-grams|   (Li et al. 2016, section 5.2, within one text)
EAD        =     |distinct n-grams| / expected number of them   (Liu et al. 2022)
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float64, Int64

from textgym.errors import ScorerError, ScoringFailure
from textgym.scorers.base import Score, Scorer, Stream, register
from textgym.text.reserved import RESERVED
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
    formula = "1 - |distinct n-grams| / |n-grams|"
    source = "Welleck et al. 2020, section 6.1"
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
    formula = "|distinct n-grams| / |n-grams|"
    source = "Li et al. 2016, section 5.2"
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


@register("ead")
@dataclass(frozen=True)
class ExpectationAdjustedDistinct(Scorer):
    """Distinct n-grams over the number to expect where each is drawn at random from the vocabulary.

    Plain ``distinct`` falls with length whatever is said, since a vocabulary is finite; this does not. Above 1, a text
    repeats itself less often than chance. The paper counts words (n = 1); for n-grams there are V^n to draw from. EOS
    is left out. A completion shorter than n scores 0.

    Args:
        n: length of the n-grams, in tokens.
        vocab_size: V; none for that of the task's tokenizer.
    """

    n: int = 1
    vocab_size: int | None = None
    formula = "|distinct n-grams| / (V^n (1 - (1 - 1/V^n)^C)), C = |n-grams|"
    source = "Liu et al. 2022"
    range = (0.0, math.e / (math.e - 1))
    unit = "of what is expected"
    causal = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_order(self.name, self.n)
        if self.vocab_size is not None and self.vocab_size < 2:
            raise ScorerError(f"{self}: a vocabulary has two tokens or more")

    @property
    def needs(self) -> frozenset[str]:
        """A vocabulary, unless its size is given."""
        return frozenset() if self.vocab_size else frozenset({"vocabulary"})

    def prepare(self, context: ScoringContext | None) -> Score:
        """Takes V from the context.

        Raises:
            ScorerError: V is neither given nor to be had.
        """
        return partial(_shares, n=self.n, seen_before=False, per=self._expected(context))

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,), tokens (B, T).

        Raises:
            ScoringFailure: a text has more distinct n-grams than the vocabulary that was given.
        """
        return self.prepare(None)(batch)

    def stream(self, rows: int, context: ScoringContext) -> Stream:
        """O(1) a token: one set of seen n-grams a row."""
        per = self._expected(context)
        return _SeenNgrams(rows, self.n, context.tokenizer.eos_id, seen_before=False, per=per)

    def _expected(self, context: ScoringContext | None) -> "_Per":
        if self.vocab_size is not None:
            return partial(_expected_distinct, float(self.vocab_size) ** self.n)
        if context is None:
            raise self._unbound()
        size = context.tokenizer.vocab_size
        if size <= len(RESERVED):  # that of no task
            raise ScorerError(
                f"{self} needs a vocabulary: bind it to a task, or say how large one is, vocab_size=30000"
            )
        return partial(_expected_distinct, float(size) ** self.n)


def _check_order(name: str, n: int) -> None:
    if n < 1:
        raise ScorerError(f"{name}(n={n}): n counts tokens and must be at least 1")


_Per = Callable[[int, int], float]
"""(n-grams that count, n-grams) -> what the first is divided by."""


def _all(hits: int, count: int) -> float:
    return max(count, 1)


def _expected_distinct(choices: float, hits: int, count: int) -> float:
    """How many different ones are among `count` that are drawn at random from so many choices."""
    if hits > choices:
        raise ScoringFailure(f"a text has {hits} distinct n-grams, a vocabulary of {choices:g} of them is too small")
    return -choices * math.expm1(count * math.log1p(-1 / choices)) if count else 1.0


def _shares(batch: TextBatch, n: int, *, seen_before: bool, per: _Per = _all) -> Scores:
    """Share of the n-grams that were seen before, or that were not."""
    values = np.zeros(len(batch))
    tokens = np.zeros((len(batch), max(map(len, batch.completions), default=0)))
    for row, ids in enumerate(batch.content):
        hits = [seen is seen_before for seen in _seen(ids, n)]
        if hits:
            whole = per(sum(hits), len(hits))
            values[row] = sum(hits) / whole
            tokens[row, n - 1 : len(ids)] = np.array(hits) / whole
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

    def __init__(self, rows: int, n: int, eos_id: int, *, seen_before: bool, per: _Per = _all) -> None:
        self._n, self._eos, self._seen_before, self._per = n, eos_id, seen_before, per
        self._known: list[set[tuple[int, ...]]] = [set() for _ in range(rows)]
        self._last: list[tuple[int, ...]] = [()] * rows
        self._hits, self._count = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)

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
        hits = self._hits[rows]
        whole = [self._per(of, count) for of, count in zip(hits.tolist(), self._count[rows].tolist(), strict=True)]
        return np.asarray(hits / np.array(whole, dtype=np.float64))
