"""A language model of answers alone: it was fitted to references, so it reads no prompts.

An n-gram that reached back into a prompt of another kind, such as a list of facts, would find its context nowhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from textgym.types import LanguageModel, TokenIds, TokenStream


def without_prompts(model: LanguageModel) -> LanguageModel:
    """The model with every prompt taken for an empty one; it has a `stream` if the model has."""
    return _StreamingWithoutPrompts(model) if hasattr(model, "stream") else _WithoutPrompts(model)


@dataclass(frozen=True)
class _WithoutPrompts:
    model: Any

    @property
    def vocab_size(self) -> int:
        return int(self.model.vocab_size)

    @property
    def signature(self) -> str:
        return f"{self.model.signature} without prompts"

    def logprobs(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> Float64[np.ndarray, "B T"]:
        found: Float64[np.ndarray, "B T"] = self.model.logprobs(_no(prompts), completions)
        return found

    def next_logprobs(self, prompts: Sequence[TokenIds], completions: Sequence[TokenIds]) -> Float64[np.ndarray, "B V"]:
        found: Float64[np.ndarray, "B V"] = self.model.next_logprobs(_no(prompts), completions)
        return found


class _StreamingWithoutPrompts(_WithoutPrompts):
    def stream(self, prompts: Sequence[TokenIds]) -> TokenStream:
        return _Stream(self.model.stream(_no(prompts)))


@dataclass(frozen=True)
class _Stream:
    stream: Any

    def advance(self, tokens: Int64[np.ndarray, " B"]) -> Float64[np.ndarray, " B"]:
        found: Float64[np.ndarray, " B"] = self.stream.advance(tokens)
        return found

    def restart(self, rows: Int64[np.ndarray, " N"], prompts: Sequence[TokenIds]) -> None:
        self.stream.restart(rows, _no(prompts))


def _no(prompts: Sequence[TokenIds]) -> list[TokenIds]:
    return [np.zeros(0, dtype=np.int32)] * len(prompts)
