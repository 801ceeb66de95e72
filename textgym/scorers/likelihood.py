"""Fluency and informativeness: what a language model thinks of each token."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Float64

from textgym.errors import ScoringFailure
from textgym.scorers.base import Score, Scorer, register
from textgym.types import LanguageModel, Scores, ScoringContext, TextBatch, TokenIds


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
