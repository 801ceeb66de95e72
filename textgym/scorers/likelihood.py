"""Fluency and informativeness: what a language model thinks of each token."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from textgym.scorers.asking import AskingScorer
from textgym.scorers.base import Stream, register
from textgym.scorers.logprobs import (
    AnyLanguageModel,
    language_model,
    on_tokens,
    reads_text,
    running,
    token_logprobs,
)
from textgym.types import Scores, ScoringContext, TextBatch


@dataclass(frozen=True)
class LikelihoodScorer(AskingScorer):
    """A leaf that asks one language model of the context; `lm` is its name there."""

    lm: str
    needs = frozenset({"language model"})
    prefix_scorable = True

    @property
    def causal(self) -> bool:
        """Unless the model has a tokenizer of its own: what follows may join the last letters into another token."""
        return not reads_text(self.lm)

    def model_in(self, context: ScoringContext) -> AnyLanguageModel:
        """The language model."""
        return language_model(context, self.lm)


@register("fluency")
@dataclass(frozen=True)
class Fluency(LikelihoodScorer):
    """How likely a completion is under a language model, EOS included.

    An empty completion is scored as one that ends at once, by EOS. A model with a tokenizer of its own (``hf:``) counts
    its own tokens; one that begins in the prompt and ends in the completion counts whole.

    Args:
        lm: the language model, by its name in the context: ``ngram:4``, ``unigram``, a model folder, or a causal model
            of Hugging Face, ``hf:NAME_OR_FOLDER``.
        form: ``mean`` log p(w_t | prompt, w_<t) in nats per token, the ``sum`` in nats, or the ``perplexity``.
    """

    lm: str = "ngram:4"
    form: Literal["mean", "sum", "perplexity"] = "mean"
    formula = "mean over t of log p(w_t | prompt, w_<t)"
    source = ""

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
        return running(self._judge, context, self.lm, rows, eos=True)

    def _judge(self, total: Float64[np.ndarray, " N"], count: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
        values = total if self.form == "sum" else total / count
        return np.exp(-values) if self.form == "perplexity" else values

    def measure(self, model: AnyLanguageModel, batch: TextBatch) -> Scores:
        """The mean, sum or perplexity of each row."""
        rows = token_logprobs(model, batch, eos=True)
        lengths = [1 if self.form == "sum" else len(row.values) for row in rows]
        values = np.array([row.values.sum() / n for row, n in zip(rows, lengths, strict=True)])
        if self.form == "perplexity":
            return Scores(np.exp(-values))
        return Scores(values, tokens=on_tokens(batch, rows, lengths))


@register("informativeness")
@dataclass(frozen=True)
class Informativeness(LikelihoodScorer):
    """Mean surprisal of the words, in nats per token: -log p(w_t) under a model that ignores what came before.

    EOS is left out; a completion without content scores 0. Rare words raise it, so word salad does too: clip it.

    Args:
        lm: the background model, by its name in the context.
    """

    lm: str = "unigram"
    range = (0.0, float("inf"))
    unit = "nats per token"
    formula = "mean over t of -log p(w_t)"
    source = ""

    def measure(self, model: AnyLanguageModel, batch: TextBatch) -> Scores:
        """The mean surprisal of each row."""
        rows = [row._replace(values=0.0 - row.values) for row in token_logprobs(model, batch, eos=False)]
        lengths = [max(len(row.values), 1) for row in rows]
        values = np.array([row.values.sum() / n for row, n in zip(rows, lengths, strict=True)])
        return Scores(values, tokens=on_tokens(batch, rows, lengths))

    def stream(self, rows: int, context: ScoringContext) -> Stream | None:
        """O(1) a token, under a language model that has a stream of its own."""
        return running(self._judge, context, self.lm, rows, eos=False)

    def _judge(self, total: Float64[np.ndarray, " N"], count: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
        values: Float64[np.ndarray, " N"] = (0.0 - total) / np.maximum(count, 1)
        return values
