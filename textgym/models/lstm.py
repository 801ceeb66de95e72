"""An LSTM language model in one file: tied head, and a cache of the states after every token.

Hochreiter & Schmidhuber 1997; as a language model Merity et al. 2018, section 4, without its dropout: a policy must
give the same probabilities when it is trained as when it acted.

Letters: B rows, T tokens, C width (n_embd), N layers, S slots of the cache, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from textgym.errors import CheckpointError
from textgym.models.causal_network import CausalNetwork, bias_of


@dataclass(frozen=True)
class LSTMConfig:
    """Everything that gives the network its shape.

    Args:
        vocab_size: V, reserved ids included.
        context: longest prefix in tokens; the network itself would read on, its cache does not.
        n_layer: layers.
        n_embd: width C of embeddings and states.
        banned: ids that never come out (the separator and <unk> have no text); their probability is 0.
    """

    vocab_size: int
    context: int
    n_layer: int = 2
    n_embd: int = 224
    banned: Sequence[int] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "banned", tuple(int(i) for i in self.banned))
        for name in ("vocab_size", "context", "n_layer", "n_embd"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise CheckpointError(f"LSTMConfig: {name}={getattr(self, name)!r} must be a positive integer")
        if any(not 0 <= i < self.vocab_size for i in self.banned) or len(set(self.banned)) >= self.vocab_size:
            raise CheckpointError(f"LSTMConfig: banned={self.banned} must be ids below {self.vocab_size}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {"kind": LSTM.kind, **asdict(self), "banned": list(self.banned)}


class StateCache:
    """The states of B rows after 0, 1, 2 ... tokens; going back is reading an earlier slot.

    Only the last state of what was prefilled is known, since that is all that the fused kernel gives.

    Args:
        config: the network's shape.
        rows: B.
        slots: longest prefix.
        device: where the tensors live.
        dtype: of the network's weights.
    """

    def __init__(
        self, config: LSTMConfig, rows: int, slots: int, device: torch.device | str, dtype: torch.dtype
    ) -> None:
        # Slot n holds the state after n tokens, slot 0 that of the beginning.
        self.states = torch.zeros((2, config.n_layer, rows, slots + 1, config.n_embd), device=device, dtype=dtype)
        self.lengths = torch.zeros(rows, dtype=torch.long, device=device)
        """(B,) tokens read so far."""
        self.first = torch.ones(rows, dtype=torch.long, device=device)
        """(B,) the first slot behind 0 that holds a state."""

    def holds(self, lengths: Int[Tensor, " B"]) -> Bool[Tensor, " B"]:
        """Whether each row could go on from its first so many tokens."""
        return (lengths <= self.lengths) & ((lengths >= self.first) | (lengths == 0))

    def keep(self, rows: Int[Tensor, " K"]) -> None:
        """Drops all rows but these, in this order."""
        self.states = self.states[:, :, rows]
        self.lengths, self.first = self.lengths[rows], self.first[rows]


class LSTM(CausalNetwork):
    """The network; its cache is a `StateCache`.

    It runs in float32 inside autocast too: a recurrence adds up what it rounds.

    Args:
        config: its shape.
    """

    kind: ClassVar[str] = "lstm"
    config: LSTMConfig

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.lstm = nn.LSTM(config.n_embd, config.n_embd, config.n_layer, batch_first=True)
        self.register_buffer("banned_bias", bias_of(tuple(config.banned), config.vocab_size), persistent=False)
        nn.init.uniform_(self.wte.weight, -0.1, 0.1)
        for name, bias in self.lstm.named_parameters():
            if name.startswith("bias"):  # gates in, forget, cell, out: it begins by remembering (Gers et al. 2000)
                nn.init.zeros_(bias)
                nn.init.constant_(bias[config.n_embd : 2 * config.n_embd], 0.5)

    @property
    def width(self) -> int:
        """C."""
        return self.config.n_embd

    @property
    def head(self) -> Float[Tensor, "V C"]:
        """The embedding: the head is tied to it (Press & Wolf 2017)."""
        return self.wte.weight

    def matrices(self) -> list[nn.Parameter]:
        """Those of the layers."""
        return [weight for weight in self.lstm.parameters() if weight.ndim == 2]

    def new_cache(self, rows: int, slots: int) -> StateCache:
        """A `StateCache`."""
        return StateCache(self.config, rows, slots, self.device, self.wte.weight.dtype)

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T C"]:
        """Hidden state after each token of left-aligned rows; what stands at padding means nothing."""
        self._check(tokens.shape[1])
        embedded = self.wte(tokens)
        hidden: Tensor = self._run(embedded)[0] if tokens.numel() else embedded
        return hidden

    def prefill(
        self, tokens: Int[Tensor, "R T"], lengths: Int[Tensor, " R"], cache: StateCache, rows: Int[Tensor, " R"]
    ) -> Float[Tensor, "R T C"]:
        """As `CausalNetwork.prefill`; one fused pass."""
        self._check(tokens.shape[1])
        # Packed, so that each row's last state is that after its own last token.
        packed = pack_padded_sequence(self.wte(tokens), lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, last = self._run(packed)
        cache.states[:, :, rows, lengths] = torch.stack(last)
        cache.lengths[rows], cache.first[rows] = lengths, lengths
        hidden: Tensor = pad_packed_sequence(outputs, batch_first=True, total_length=tokens.shape[1])[0]
        return hidden

    def decode(self, tokens: Int[Tensor, " B"], cache: StateCache) -> Float[Tensor, "B C"]:
        """Hidden state after one more token in every row, from the state of the row's own position."""
        self._check(int(cache.lengths.max()) + 1)
        every, read = torch.arange(len(tokens), device=tokens.device), cache.lengths
        hidden, cell = cache.states[:, :, every, read]
        outputs, states = self._run(self.wte(tokens[:, None]), (hidden.contiguous(), cell.contiguous()))
        cache.states[:, :, every, read + 1] = torch.stack(states)
        cache.first = torch.where(read == 0, 1, cache.first)
        cache.lengths = read + 1
        return outputs[:, 0]  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> "LSTM":
        """As `nn.Module.train`; what is inside stays in training mode, without which cuDNN gives no gradients."""
        super().train(mode)
        self.lstm.train()
        return self

    def _run(self, inputs: Any, states: Any = None) -> Any:
        with torch.autocast(self.device.type, enabled=False):
            return self.lstm(inputs, states)

    def _check(self, length: int) -> None:
        if length > self.config.context:
            raise CheckpointError(f"a prefix of {length} tokens does not fit a context of {self.config.context}")
