"""What policies, samplers and scorers ask of a network: hidden states, a linear head, and a cache of prefixes.

`Transformer`, `LSTM` and `HuggingFaceNetwork` are such networks; `textgym.testing.check_network` holds them to it.

Letters: B rows, T tokens, C width of a hidden state, V vocabulary.
"""

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

BANNED_LOGIT = -1e9
"""Finite, so that p * log p of a banned token is 0 and not NaN."""


def product_dtype(tensor: Tensor) -> torch.dtype:
    """The dtype of matrix products with this tensor, and so of keys and values: autocast's where that is on."""
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tensor.dtype


@runtime_checkable
class NetworkConfig(Protocol):
    """Everything that gives a network its shape."""

    @property
    def vocab_size(self) -> int:
        """V, reserved ids included."""

    @property
    def context(self) -> int:
        """Longest prefix in tokens."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values, from which `textgym.models.kinds.network_of` makes such a network again."""


@runtime_checkable
class Cache(Protocol):
    """What a network keeps of the prefixes of B rows, each row at a position of its own.

    Attributes:
        lengths: (B,) tokens of each row that the next `decode` goes on from. They may be set back to what `holds`.
    """

    lengths: Int[Tensor, " B"]

    def holds(self, lengths: Int[Tensor, " B"]) -> Bool[Tensor, " B"]:
        """Whether each row could go on from its first so many tokens."""

    def keep(self, rows: Int[Tensor, " K"]) -> None:
        """Drops all rows but these, in this order."""


class CausalNetwork(nn.Module, ABC):
    """Prefixes to hidden states, hidden states to next-token logits.

    `forward` scores every position of whole texts in one causal pass; `prefill` and `decode` do the same a piece at a
    time with a cache. Both give equal results (to float rounding), in training mode too: a policy must give the same
    probabilities when it is trained as when it acted, so there is no dropout.

    Attributes:
        config: the shape.
        banned_bias: (V,) added to the logits: 0, or `BANNED_LOGIT` for ids that never come out.
    """

    kind: ClassVar[str]
    """How a saved model says what it is."""

    predicts_prompts: ClassVar[bool] = True
    """Whether the state after a token of the prompt predicts the next one; if not, completions alone can be fitted."""

    config: NetworkConfig
    banned_bias: Tensor

    @property
    @abstractmethod
    def width(self) -> int:
        """C."""

    @property
    @abstractmethod
    def head(self) -> Float[Tensor, "V C"]:
        """What hidden states are multiplied with to give logits."""

    @property
    def head_bias(self) -> Float[Tensor, " V"]:
        """What is added then, bans included."""
        return self.banned_bias

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.banned_bias.device

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and hidden states."""
        return self.banned_bias.dtype

    @abstractmethod
    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T C"]:
        """Hidden state after each token of left-aligned rows; what stands at padding means nothing."""

    @abstractmethod
    def new_cache(self, rows: int, slots: int) -> Any:
        """An empty `Cache`, for this network alone.

        Args:
            rows: B.
            slots: longest prefix that it must take, at most the context.
        """

    @abstractmethod
    def prefill(
        self, tokens: Int[Tensor, "R T"], lengths: Int[Tensor, " R"], cache: Any, rows: Int[Tensor, " R"]
    ) -> Float[Tensor, "R T C"]:
        """`forward` of fresh prefixes that also fills their rows of the cache.

        Args:
            tokens: left-aligned prefixes.
            lengths: tokens in each, at least 1.
            cache: is written at `rows`; what stood there is gone.
            rows: which rows of the cache these are.
        """

    @abstractmethod
    def decode(self, tokens: Int[Tensor, " B"], cache: Any) -> Float[Tensor, "B C"]:
        """Hidden state after one more token in every row of the cache."""

    def logits(self, hidden: Float[Tensor, "*N C"]) -> Float[Tensor, "*N V"]:
        """Next-token logits; banned tokens are so low that their probability is 0."""
        scores: Tensor = F.linear(hidden, self.head, self.head_bias)
        return scores

    def matrices(self) -> list[nn.Parameter]:
        """The inner matrices, which a fit moves by Muon; all else it moves by AdamW."""
        return []

    def frozen(self) -> "CausalNetwork":
        """This network as it is now, as a reference that nobody trains."""
        return copy.deepcopy(self).requires_grad_(False).eval()


def bias_of(banned: tuple[int, ...], vocab_size: int) -> Float[Tensor, " V"]:
    """`banned_bias` of these ids."""
    bias = torch.zeros(vocab_size)
    bias[list(banned)] = BANNED_LOGIT
    return bias
