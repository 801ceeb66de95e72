"""A cache of keys and values for models of Hugging Face whose rows are at positions of their own.

Theirs hold one length for all rows; this one writes each row's next token at the row's own position, and gives a model
as many slots as the longest row has, which a mask then hides from the shorter ones.

Letters: B rows, H heads of keys, T tokens, S slots, D size of a head.
"""

from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional as F
from transformers.cache_utils import Cache

ROOM = 64
"""Slots that are made at once: a model may read more tokens than any text will have."""


class RowCache(Cache):
    """Keys and values of the prefixes of B rows, and the tokens that they are of.

    Args:
        rows: B.
        slots: longest prefix.
        device: where the tensors live.
    """

    def __init__(self, rows: int, slots: int, device: torch.device) -> None:
        super().__init__(layers=[])
        self.slots = slots
        self.lengths = torch.zeros(rows, dtype=torch.long, device=device)
        """(B,) how many slots of each row are filled."""
        self.tokens = torch.full((rows, slots), -1, dtype=torch.long, device=device)
        """(B, S) what the environment wrote there."""
        self._layers: list[tuple[Tensor, Tensor]] = []  # keys and values (B, H, S, D)
        self._filling: Tensor | None = None  # the rows of a prefill; None while decoding
        self._seen = 0  # slots that a pass looks at

    def holds(self, lengths: Int[Tensor, " B"]) -> Bool[Tensor, " B"]:
        """Whether each row could go on from its first so many tokens."""
        return lengths <= self.lengths

    def keep(self, rows: Int[Tensor, " K"]) -> None:
        """Drops all rows but these, in this order."""
        self.lengths, self.tokens = self.lengths[rows], self.tokens[rows]
        self._layers = [(keys[rows], values[rows]) for keys, values in self._layers]

    def fill(self, rows: Int[Tensor, " R"], tokens: Int[Tensor, "R T"]) -> None:
        """Says that the next pass is one of these rows from their beginning."""
        self._filling, self._seen = rows, tokens.shape[1]
        self.tokens[rows, : tokens.shape[1]] = tokens

    def extend(self, tokens: Int[Tensor, " B"], seen: int) -> None:
        """Says that the next pass is one of a token more in every row, the longest of which has `seen` then."""
        self._filling, self._seen = None, seen
        self.tokens[torch.arange(len(tokens), device=tokens.device), self.lengths] = tokens

    # What models call -------------------------------------------------------------------------------------------

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        """Writes what a layer made of the new tokens; gives back what it may look at."""
        if layer_idx == len(self._layers):
            self._layers.append((self._made(key_states), self._made(value_states)))
        keys, values = self._layers[layer_idx]
        pair = self._layers[layer_idx] = self._widened(keys), self._widened(values)
        if self._filling is not None:
            for kept, new in zip(pair, (key_states, value_states), strict=True):
                kept[self._filling, :, : self._seen] = new
            return key_states, value_states
        every = torch.arange(len(self.lengths), device=self.lengths.device)
        for kept, new in zip(pair, (key_states, value_states), strict=True):
            kept[every, :, self.lengths] = new[:, :, 0]
        return tuple(kept[:, :, : self._seen] for kept in pair)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """None: a prefill begins at the beginning, and a token more brings its position and its mask."""
        return 0

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Of a prefill: nothing stands before it."""
        return query_length, 0

    def get_max_cache_shape(self, layer_idx: int = 0) -> int:
        """The longest prefix."""
        return self.slots

    def _made(self, new: Tensor) -> Tensor:
        shape = (len(self.lengths), new.shape[1], 0, new.shape[3])
        return torch.zeros(shape, device=new.device, dtype=new.dtype)

    def _widened(self, kept: Tensor) -> Tensor:
        if kept.shape[2] >= self._seen:
            return kept
        room = min(max(self._seen, 2 * kept.shape[2], ROOM), self.slots)
        return F.pad(kept, (0, 0, 0, room - kept.shape[2]))
