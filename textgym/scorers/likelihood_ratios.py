"""Log-likelihood ratios: what is left of a text's likelihood without that of its words, or of its prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float64, Int64

from textgym.scorers.base import Score, Stream, register
from textgym.scorers.likelihood import LikelihoodScorer
from textgym.scorers.logprobs import AnyLanguageModel, Logprobs, language_model, on_tokens, running, token_logprobs
from textgym.types import Scores, ScoringContext, TextBatch, TokenIds


@register("slor")
@dataclass(frozen=True)
class Slor(LikelihoodScorer):
    """Syntactic log-odds ratio: how likely a completion is beyond what its single words are, EOS included.

    A rare word costs both models alike, so that it does not count against the sentence it stands in.

    Args:
        lm: the language model, by its name in the context, as in ``fluency``.
        unigram: the model of single words. The length is counted in its tokens.
    """

    lm: str = "ngram:4"
    unigram: str = "unigram"
    unit = "nats per token"
    formula = "(log p(y | prompt) - log p_unigram(y)) / |y|"
    source = "Kann, Rothe and Filippova 2018, section 2"

    def fingerprint(self, context: ScoringContext) -> str:
        """Both models' signatures."""
        return f"{super().fingerprint(context)} / {language_model(context, self.unigram).signature}"

    def prepare(self, context: ScoringContext | None) -> Score:
        """Takes both models from the context."""
        if context is None:
            raise self._unbound()
        return partial(self._compare, language_model(context, self.lm), language_model(context, self.unigram))

    @staticmethod
    def _compare(model: AnyLanguageModel, unigram: AnyLanguageModel, batch: TextBatch) -> Scores:
        of_words = token_logprobs(unigram, batch, eos=True)
        lengths = [len(row.values) for row in of_words]
        return _difference(batch, token_logprobs(model, batch, eos=True), of_words, lengths)

    def stream(self, rows: int, context: ScoringContext) -> Stream | None:
        """O(1) a token, under language models that have streams of their own."""
        return _gap(
            running(_mean, context, self.lm, rows, eos=True), running(_mean, context, self.unigram, rows, eos=True)
        )


@register("pmi")
@dataclass(frozen=True)
class Pmi(LikelihoodScorer):
    """Pointwise mutual information of prompt and completion, per token: how much likelier the prompt makes it.

    What would follow anything, such as a bland answer, scores 0, as every completion of an empty prompt does.

    Args:
        lm: the language model, by its name in the context, as in ``fluency``. It must read prompts: an n-gram sees
            their last words.
    """

    lm: str = "ngram:4"
    unit = "nats per token"
    formula = "(log p(y | prompt) - log p(y)) / |y|"
    source = "Li et al. 2016, section 4"

    def measure(self, model: AnyLanguageModel, batch: TextBatch) -> Scores:
        """The ratio of each row."""
        after = token_logprobs(model, batch, eos=True)
        alone = token_logprobs(model, _without_prompts(batch), eos=True)
        return _difference(batch, after, alone, [len(row.values) for row in after])

    def stream(self, rows: int, context: ScoringContext) -> Stream | None:
        """O(1) a token, under a language model that has a stream of its own."""
        return _gap(
            running(_mean, context, self.lm, rows, eos=True),
            running(_mean, context, self.lm, rows, eos=True, prompts=False),
        )


def _difference(
    batch: TextBatch, ones: Sequence[Logprobs], others: Sequence[Logprobs], lengths: Sequence[float]
) -> Scores:
    rows = zip(ones, others, lengths, strict=True)
    values = np.array([(one.values.sum() - other.values.sum()) / n for one, other, n in rows], dtype=np.float64)
    return Scores(values, tokens=on_tokens(batch, ones, lengths) - on_tokens(batch, others, lengths))


def _without_prompts(batch: TextBatch) -> TextBatch:
    nothing: TokenIds = np.empty(0, dtype=np.int32)
    return TextBatch([nothing] * len(batch), batch.completions, batch.tokenizer)


def _mean(total: Float64[np.ndarray, " N"], count: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
    values: Float64[np.ndarray, " N"] = total / count
    return values


def _gap(one: Stream | None, other: Stream | None) -> Stream | None:
    return None if one is None or other is None else _Gap(one, other)


@dataclass(frozen=True)
class _Gap:
    """What one stream says less what the other does, of the same tokens."""

    one: Stream
    other: Stream

    def begin(self, rows: Int64[np.ndarray, " N"], prompts: Sequence[TokenIds]) -> Float64[np.ndarray, " N"]:
        return np.asarray(self.one.begin(rows, prompts) - self.other.begin(rows, prompts))

    def advance(self, rows: Int64[np.ndarray, " N"], tokens: Int64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
        return np.asarray(self.one.advance(rows, tokens) - self.other.advance(rows, tokens))
