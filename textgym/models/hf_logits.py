"""What a network of Hugging Face says of chosen tokens: batches of like lengths, logits at the chosen places only.

Letters: R rows, L tokens of the longest of them, N chosen places, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from textgym.errors import CheckpointError
from textgym.models.layout import similar_lengths

BATCH_TOKENS = 8192
"""Tokens of a batch at most, padding included."""

LOGITS = {"cpu": 2**25}
"""Logits of a batch at most, by device: 128 MiB of them on a CPU ..."""

FAR_LOGITS = 2**28
"""... and 1 GiB on an accelerator."""


def batches(network: Any, lengths: Sequence[int], chosen: Sequence[int]) -> Iterator[Int64[np.ndarray, " R"]]:
    """Rows that go through a network together.

    Args:
        network: which one.
        lengths: tokens of each row.
        chosen: how many logits of each row are wanted.

    Yields:
        places in `lengths`.
    """
    most = LOGITS.get(network.device.type, FAR_LOGITS) // network.config.vocab_size
    share = max((n / max(length, 1) for n, length in zip(chosen, lengths, strict=True)), default=1.0)
    yield from similar_lengths(np.array(lengths, dtype=np.int64), int(min(BATCH_TOKENS, most / max(share, 1e-3))))


def padded(rows: Sequence[Sequence[int]], value: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids (R, L) with `value` beyond a row's end, and which of them are tokens (R, L)."""
    width = max(map(len, rows), default=0)
    ids = np.full((len(rows), width), value, dtype=np.int64)
    for row, given in zip(ids, rows, strict=True):
        row[: len(given)] = given
    within = np.arange(width) < np.array([len(row) for row in rows])[:, None]
    return torch.from_numpy(ids).to(device), torch.from_numpy(within.astype(np.int64)).to(device)


def logits_at(
    network: Any, places: tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]], **inputs: Any
) -> Float[Tensor, "N V"]:
    """Logits at chosen places alone: the head, which is the dear part of a small network, sees no other.

    Args:
        network: with a head over the vocabulary.
        places: row and column of each.
        inputs: what the network takes.

    Raises:
        CheckpointError: a network whose head cannot be found.
    """
    head = network.get_output_embeddings()
    if head is None:
        raise CheckpointError(f"{type(network).__name__} has no head over a vocabulary")
    rows, columns = (torch.from_numpy(part).to(network.device) for part in places)
    hook = head.register_forward_pre_hook(lambda module, args: (args[0][rows, columns], *args[1:]))
    try:
        logits: Tensor = network(**inputs).logits
    finally:
        hook.remove()
    return logits


def logprobs_at(
    network: Any,
    places: tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]],
    tokens: Sequence[int],
    **inputs: Any,
) -> Float64[np.ndarray, " N"]:
    """Log-probabilities, in nats, of these tokens at these places; places and inputs as in `logits_at`."""
    if not len(tokens):
        return np.zeros(0)
    logits = logits_at(network, places, **inputs).float()
    wanted = torch.as_tensor(tokens, device=logits.device)
    chosen = logits.gather(-1, wanted[:, None])[:, 0].double() - torch.logsumexp(logits, -1).double()
    found: Float64[np.ndarray, " N"] = chosen.clamp(max=0.0).cpu().numpy()
    return found


def longest_input(network: Any, says: int) -> int:
    """How many tokens a network reads at most; 0 for any number.

    Args:
        network: its table of positions decides, if it has one.
        says: what its tokenizer says; 0 where it does not.
    """
    found = [says] if says else []
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Embedding) and name.rpartition(".")[2] in ("position_embeddings", "wpe"):
            before = 0 if module.padding_idx is None else module.padding_idx + 1  # RoBERTa begins to count behind it
            found.append(module.num_embeddings - before)
    declared = getattr(network.config, "max_position_embeddings", None)
    if not found and declared and declared > 0:
        found.append(int(declared))
    return min(found, default=0)


def windows(length: int, longest: int, first: int) -> Iterator[tuple[int, int, int]]:
    """A long row as parts that fit, so that each token is predicted from half a part or more.

    Args:
        length: tokens of the row that predict, the last one left out, since it predicts nothing.
        longest: tokens of a part; 0 for any number.
        first: the first token that is asked about, 1 to `length`.

    Yields:
        begin and end of a part, and the first token that it is asked about: with the ones up to `end` it answers for
        all that no part before it has answered for.
    """
    begin = 0
    while first <= length:
        end = min(begin + longest, length) if longest else length
        if end >= first:
            yield begin, end, first
            first = end + 1
        begin += max(longest // 2, 1)
