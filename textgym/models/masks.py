"""Which tokens may come next, eight to a byte: the masks of 4,096 steps at V = 50,257 are 26 MB, as float32 823 MB.

Letters: N prefixes, V vocabulary, W = ceil(V / 8) bytes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from textgym.models.causal_network import BANNED_LOGIT

ILLEGAL_LOGIT = 2 * BANNED_LOGIT
"""Below what the model itself bans: where every legal token is banned, one of them is chosen, and none that is not."""


@dataclass(frozen=True)
class PackedMasks:
    """N masks over V tokens.

    Attributes:
        bits: (N, W) bit i of byte j is token 8 j + i; 1 = allowed.
        vocab_size: V.
    """

    bits: UInt8[Tensor, "N W"]
    vocab_size: int

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, rows: slice) -> "PackedMasks":
        return PackedMasks(self.bits[rows], self.vocab_size)

    def unpack(self) -> Bool[Tensor, "N V"]:
        """True = allowed."""
        places = torch.arange(8, dtype=torch.uint8, device=self.bits.device)
        return ((self.bits[:, :, None] >> places) & 1).bool().flatten(1)[:, : self.vocab_size]


Masks = PackedMasks | Bool[Tensor, "N V"]
"""Masks of N prefixes, packed or not; True = allowed."""


def pack(masks: Bool[np.ndarray, "N V"]) -> UInt8[np.ndarray, "N W"]:
    """The bits of N masks, as `PackedMasks` holds them."""
    return np.packbits(masks, axis=-1, bitorder="little")


def forbid(logits: Float[Tensor, "N V"], masks: Masks) -> Float[Tensor, "N V"]:
    """Logits of the distribution over the allowed tokens alone; the others get a probability of exactly 0."""
    return logits.masked_fill(_forbidden(masks), ILLEGAL_LOGIT)


def forbid_(logits: Float[Tensor, "N V"], masks: Masks) -> None:
    """`forbid` in the memory of the logits."""
    logits.masked_fill_(_forbidden(masks), ILLEGAL_LOGIT)


def _forbidden(masks: Masks) -> Bool[Tensor, "N V"]:
    return ~(masks.unpack() if isinstance(masks, PackedMasks) else masks)
