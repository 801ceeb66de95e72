"""What a language model says of the completions of a batch, whosever its tokens are.

A model of the task gives one number for each token of the task. A model with a tokenizer of its own reads the text: its
numbers go to the tokens of the task in which its own tokens end, so that the total stays.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from textgym.errors import ScoringFailure, UnknownNameError
from textgym.scorers.base import Stream
from textgym.text.offsets import moved, token_ends
from textgym.types import LanguageModel, ScoringContext, TextBatch, TextLanguageModel, TokenIds, TokenStream

AnyLanguageModel = LanguageModel | TextLanguageModel


class Logprobs(NamedTuple):
    """Of one completion.

    Attributes:
        values: log-probabilities of the model's tokens, (N,), in nats. Sums over them do not depend on the batch.
        ends: where each token ends in the completion, in characters; None where they are the tokens of the task.
    """

    values: Float64[np.ndarray, " N"]
    ends: Int64[np.ndarray, " N"] | None = None


def language_model(context: ScoringContext, name: str) -> AnyLanguageModel:
    """The model of a name: one with a tokenizer of its own, ``hf:NAME_OR_FOLDER``, or one of the task.

    Raises:
        UnknownNameError: no model has that name.
        CheckpointError: there is no such saved model, or it does not fit.
    """
    if ":" in name:
        try:
            model = context.text_model(TextLanguageModel, name)
        except UnknownNameError:
            return context.language_model(name)
        return (model.over(context.tokenizer) if hasattr(model, "over") else None) or model
    return context.language_model(name)


def reads_text(name: str) -> bool:
    """Whether the model of a name may cut the text into other tokens, so that more text may change what came before."""
    return name.startswith("hf:")


def token_logprobs(model: AnyLanguageModel, batch: TextBatch, *, eos: bool) -> list[Logprobs]:
    """Log-probability of each token of each completion.

    Args:
        model: whom to ask.
        batch: B rows.
        eos: whether a final EOS counts; an empty completion then is one that ends at once.

    Raises:
        ScoringFailure: the model returned something of another shape.
    """
    if isinstance(model, TextLanguageModel):
        return _of_text(model, batch, eos)
    only_eos = np.array([batch.tokenizer.eos_id], dtype=np.int32)
    texts = [ids if len(ids) else only_eos for ids in batch.completions] if eos else batch.content
    table = model.logprobs(batch.prompts, texts)
    expected = (len(texts), max(map(len, texts), default=0))
    if table.shape != expected:
        raise ScoringFailure(
            f"language model {model.signature} returned log-probabilities of shape {table.shape} for {expected}"
        )
    return [Logprobs(np.asarray(row[: len(ids)], dtype=np.float64)) for row, ids in zip(table, texts, strict=True)]


def _of_text(model: TextLanguageModel, batch: TextBatch, eos: bool) -> list[Logprobs]:
    texts, end = batch.completion_texts, batch.tokenizer.eos_id
    # Asked for the end even where it does not count, so that every scorer asks the same and one answer does for all.
    ended = [not text or int(ids[-1]) == end for text, ids in zip(texts, batch.completions, strict=True)]
    told = model.text_logprobs(batch.prompt_texts, texts, ended)
    if len(told) != len(batch):
        raise ScoringFailure(f"language model {model.signature} returned {len(told)} rows for {len(batch)}")
    if eos:
        silent = [text for text, (values, _) in zip(texts, told, strict=True) if not len(values)]
        if silent:
            raise ScoringFailure(f"language model {model.signature} has no token for the text {silent[0]!r}")
        return [Logprobs(values, ends) for values, ends in told]
    return [
        Logprobs(values[ends <= len(text)], ends[ends <= len(text)])
        for text, (values, ends) in zip(texts, told, strict=True)
    ]


def on_tokens(batch: TextBatch, rows: Sequence[Logprobs], lengths: Sequence[float]) -> Float64[np.ndarray, "B T"]:
    """What each token of the task contributes: each row over its length, 0 beyond the row's end."""
    tokens = np.zeros((len(rows), max(map(len, batch.completions), default=0)))
    for index, (row, ids, length) in enumerate(zip(rows, batch.completions, lengths, strict=True)):
        if row.ends is None:
            shown = min(len(row.values), len(ids))
            tokens[index, :shown] = row.values[:shown] / length
        elif len(ids):
            onto = token_ends(batch.tokenizer, ids, batch.completion_texts[index])
            tokens[index, : len(ids)] = moved(row.values / length, row.ends, onto)
    return tokens


Judge = Callable[[Float64[np.ndarray, " N"], Float64[np.ndarray, " N"]], Float64[np.ndarray, " N"]]
"""(sums of log-probabilities, how many) -> scores."""


def running(
    judge: Judge, context: ScoringContext, lm: str, rows: int, *, eos: bool, prompts: bool = True
) -> Stream | None:
    """Running scores of `rows` texts; None under a model that has no stream of its own.

    Args:
        judge: makes scores of sums.
        context: the task's.
        lm: the model's name.
        rows: how many texts.
        eos: whether EOS counts, or is passed over.
        prompts: whether the model sees the prompts.
    """
    model = language_model(context, lm)
    if isinstance(model, TextLanguageModel) or not hasattr(model, "stream"):
        return None
    stream = model.stream([_NOTHING] * rows)
    return _Running(judge, model, stream, rows, context.tokenizer.eos_id, eos, prompts)


_NOTHING: TokenIds = np.empty(0, dtype=np.int32)


class _Running:
    """Sums of log-probabilities of texts that grow; EOS counts, or is passed over."""

    def __init__(
        self,
        judge: Judge,
        model: LanguageModel,
        stream: TokenStream,
        rows: int,
        eos_id: int,
        eos_counts: bool,
        prompts: bool,
    ) -> None:
        self._judge, self._model, self._stream = judge, model, stream
        self._eos, self._eos_counts, self._prompts = eos_id, eos_counts, prompts
        self._total, self._count = np.zeros(rows), np.zeros(rows)

    def begin(self, rows: Int64[np.ndarray, " N"], prompts: Sequence[TokenIds]) -> Float64[np.ndarray, " N"]:
        prompts = prompts if self._prompts else [_NOTHING] * len(prompts)
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
