"""What a network sees of a text: prompt + separator + completion, left-aligned, many rows at once.

Letters: B rows, T tokens of the longest row, U = T - 1 positions that predict the next, N of them that are asked about.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor
from torch.nn import functional as F

from textgym.models.causal_network import CausalNetwork
from textgym.types import TokenIds


@dataclass(frozen=True)
class Layout:
    """B rows of prompt + separator + completion.

    Attributes:
        tokens: (B, T) ids, 0 beyond a row's end.
        lengths: (B,) tokens in each row.
        starts: (B,) where each completion begins; the separator stands before it.
    """

    tokens: Int[Tensor, "B T"]
    lengths: Int[Tensor, " B"]
    starts: Int[Tensor, " B"]

    def completions(self) -> Bool[Tensor, "B U"]:
        """Column t is True where token t + 1 belongs to the completion."""
        column = torch.arange(1, self.tokens.shape[1], device=self.tokens.device)
        return (column >= self.starts[:, None]) & (column < self.lengths[:, None])

    def texts(self) -> Bool[Tensor, "B U"]:
        """Column t is True where token t + 1 belongs to the prompt or to the completion: not the separator."""
        column = torch.arange(1, self.tokens.shape[1], device=self.tokens.device)
        return (column != self.starts[:, None] - 1) & (column < self.lengths[:, None])


def lay_out(
    prompts: Sequence[TokenIds], completions: Sequence[TokenIds], *, sep_id: int, device: torch.device | str = "cpu"
) -> Layout:
    """Rows as one padded tensor.

    Args:
        prompts: B prompts without separator.
        completions: B completions; empty ones are allowed.
        sep_id: goes between the two.
        device: where the tensors go.
    """
    starts = np.array([len(prompt) + 1 for prompt in prompts], dtype=np.int64)
    lengths = starts + np.array([len(completion) for completion in completions], dtype=np.int64)
    tokens = np.zeros((len(prompts), int(lengths.max(initial=1))), dtype=np.int64)
    for row, prompt, completion, start, length in zip(tokens, prompts, completions, starts, lengths, strict=True):
        row[: start - 1] = prompt
        row[start - 1] = sep_id
        row[start:length] = completion
    return Layout(*(torch.from_numpy(array).to(device) for array in (tokens, lengths, starts)))


def emittable(model: CausalNetwork, tokens: Int[Tensor, "*N"]) -> Bool[Tensor, "*N"]:
    """False at ids the model can never give (banned ones, such as <unk>): no likelihood is to be had there."""
    return model.banned_bias[tokens] == 0


def negative_logprobs(
    model: CausalNetwork, tokens: Int[Tensor, "B T"], wanted: Bool[Tensor, "B U"]
) -> Float[Tensor, " N"]:
    """-log p(token t + 1 | tokens up to t) in nats where `wanted` is True, row by row.

    Only those positions pass through the head, which is the dear part of a small network.
    """
    hidden = model(tokens[:, :-1])[wanted]
    return F.cross_entropy(model.logits(hidden), tokens[:, 1:][wanted], reduction="none")


def similar_lengths(lengths: Int64[np.ndarray, " R"], batch_tokens: int) -> Iterator[Int64[np.ndarray, " B"]]:
    """Cuts rows into batches, shortest first, each at most `batch_tokens` once padded (or a single row).

    Args:
        lengths: tokens in each row.
        batch_tokens: rows times longest row.

    Yields:
        indices into `lengths`.
    """
    order = np.argsort(lengths, kind="stable")
    begin = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or (end + 1 - begin) * lengths[order[end]] > batch_tokens:
            yield order[begin:end]
            begin = end
