"""Fluency and informativeness: what a language model thinks of each token."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from textgym.errors import ScoringFailure
from textgym.scorers.base import Score, Scorer, Stream, register
from textgym.types import LanguageModel, Scores, ScoringContext, TextBatch, TokenIds, TokenStream


@dataclass(frozen=True)
class _Likelihood(Scorer):
    """A leaf that asks one language model of the context; `lm` is its name there."""

    lm: str
    needs = frozenset({"language model"})

    def fingerprint(self, context: ScoringContext) -> str:
        """The language model's signature."""
        return context.language_model(self.lm).signature

    def prepare(self, context: ScoringContext | None) -> Score:
        """Takes the language model from the context."""
        if context is None:
            raise self._unbound()
        return partial(self._measure, context.language_model(self.lm))

    def _measure(self, model: LanguageModel, batch: TextBatch) -> Scores:
        raise NotImplementedError


@register("fluency")
@dataclass(frozen=True)
class Fluency(_Likelihood):
    """How likely a completion is under a language model, EOS included.

    An empty completion is scored as one that ends at once, by EOS.

    Args:
        lm: the language model, by its name in the context: ``ngram:4``, ``unigram``, a model folder.
        form: ``mean`` log p(w_t | prompt, w_<t) in nats per token, the ``sum`` in nats, or the ``perplexity``.
    """

    lm: str = "ngram:4"
    form: Literal["mean", "sum", "perplexity"] = "mean"
    causal = True

    @property
    def range(self) -> tuple[float, float]:
        """At most 0, a perplexity at least 1."""
        return (1.0, float("inf")) if self.form == "perplexity" else (-float("inf"), 0.0)

    @property
    def unit(self) -> str:
        """Nats per token, nats, or tokens (a perplexity is an effective number of choices)."""
        return {"mean": "nats per token", "sum": "nats", "perplexity": "tokens"}[self.form]

    @property
    def higher_is_better(self) -> bool:
        """A high perplexity is bad."""
        return self.form != "perplexity"

    def stream(self, rows: int, context: ScoringContext) -> Stream | None:
        """O(1) a token, under a language model that has a stream of its own."""
        return _running(self._judge, context, self.lm, rows, eos_counts=True)

    def _judge(self, total: Float64[np.ndarray, " N"], count: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
        values = total if self.form == "sum" else total / count
        return np.exp(-values) if self.form == "perplexity" else values

    def _measure(self, model: LanguageModel, batch: TextBatch) -> Scores:
        only_eos = np.array([batch.tokenizer.eos_id], dtype=np.int32)
        logprobs = _logprobs(model, batch, [ids if len(ids) else only_eos for ids in batch.completions])
        lengths = [1 if self.form == "sum" else len(row) for row in logprobs]
        values = np.array([row.sum() / n for row, n in zip(logprobs, lengths, strict=True)])
        if self.form == "perplexity":
            return Scores(np.exp(-values))
        return Scores(values, tokens=_padded(batch, logprobs, lengths))


@register("informativeness")
@dataclass(frozen=True)
class Informativeness(_Likelihood):
    """Mean surprisal of the words, in nats per token: -log p(w_t) under a model that ignores what came before.

    EOS is left out; a completion without content scores 0. Rare words raise it, so word salad does too: clip it.

    Args:
        lm: the background model, by its name in the context.
    """

    lm: str = "unigram"
    range = (0.0, float("inf"))
    unit = "nats per token"
    causal = True

    def _measure(self, model: LanguageModel, batch: TextBatch) -> Scores:
        surprisals = [0.0 - row for row in _logprobs(model, batch, batch.content)]
        lengths = [max(len(row), 1) for row in surprisals]
        values = np.array([row.sum() / n for row, n in zip(surprisals, lengths, strict=True)])
        return Scores(values, tokens=_padded(batch, surprisals, lengths))

    def stream(self, rows: int, context: ScoringContext) -> Stream | None:
        """O(1) a token, under a language model that has a stream of its own."""
        return _running(self._judge, context, self.lm, rows, eos_counts=False)

    def _judge(self, total: Float64[np.ndarray, " N"], count: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
        values: Float64[np.ndarray, " N"] = (0.0 - total) / np.maximum(count, 1)
        return values


Judge = Callable[[Float64[np.ndarray, " N"], Float64[np.ndarray, " N"]], Float64[np.ndarray, " N"]]
"""(sums of log-probabilities, how many) -> scores."""


def _running(judge: Judge, context: ScoringContext, lm: str, rows: int, *, eos_counts: bool) -> Stream | None:
    model = context.language_model(lm)
    if not hasattr(model, "stream"):
        return None
    nothing = np.empty(0, dtype=np.int32)
    return _Running(judge, model, model.stream([nothing] * rows), rows, context.tokenizer.eos_id, eos_counts)


class _Running:
    """Sums of log-probabilities of texts that grow; EOS counts, or is passed over."""

    def __init__(
        self, judge: Judge, model: LanguageModel, stream: TokenStream, rows: int, eos_id: int, eos_counts: bool
    ) -> None:
        self._judge, self._model, self._stream = judge, model, stream
        self._eos, self._eos_counts = eos_id, eos_counts
        self._total, self._count = np.zeros(rows), np.zeros(rows)

    def begin(self, rows: Int64[np.ndarray, " N"], prompts: Sequence[TokenIds]) -> Float64[np.ndarray, " N"]:
        self._stream.restart(rows, prompts)
        self._total[rows] = self._count[rows] = 0
        if not self._eos_counts:
            return self._judge(self._total[rows], self._count[rows])
        only_eos = [np.array([self._eos], dtype=np.int32)] * len(prompts)
        return self._judge(self._model.logprobs(prompts, only_eos)[:, 0], np.ones(len(prompts)))

    def advance(self, rows: Int64[np.ndarray, " N"], tokens: Int64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
        fed = np.full(len(self._total), -1)
        fed[rows] = tokens if self._eos_counts else np.where(tokens == self._eos, -1, tokens)
        self._total += self._stream.advance(fed)
        self._count += fed >= 0
        return self._judge(self._total[rows], self._count[rows])


def _logprobs(model: LanguageModel, batch: TextBatch, texts: list[TokenIds]) -> list[Float64[np.ndarray, " _"]]:
    """Log-probability of each token, one array a row, as long as the row: sums over it do not depend on the batch."""
    table = model.logprobs(batch.prompts, texts)
    expected = (len(texts), max(map(len, texts), default=0))
    if table.shape != expected:
        raise ScoringFailure(
            f"language model {model.signature} returned log-probabilities of shape {table.shape} for {expected}"
        )
    return [np.asarray(row[: len(ids)], dtype=np.float64) for row, ids in zip(table, texts, strict=True)]


def _padded(batch: TextBatch, rows: list[Float64[np.ndarray, " _"]], lengths: list[int]) -> Float64[np.ndarray, "B T"]:
    """Each row over its length, 0 beyond the row's end."""
    tokens = np.zeros((len(rows), max(map(len, batch.completions), default=0)))
    for index, (row, ids, length) in enumerate(zip(rows, batch.completions, lengths, strict=True)):
        shown = min(len(row), len(ids))
        tokens[index, :shown] = row[:shown] / length
    return tokens
