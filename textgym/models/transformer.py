"""A decoder-only Transformer in one file: pre-norm GPT-2 blocks, tied head, explicit per-row KV cache.

Radford et al. 2019 (GPT-2); Vaswani et al. 2017 for attention. No dropout: a policy must give the same
probabilities when it is trained as when it acted.

Letters: B rows, T tokens, C width (n_embd), H heads, D = C / H, S cache slots, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from textgym.errors import CheckpointError
from textgym.models.causal_network import CausalNetwork, bias_of, product_dtype

ACTIVATIONS = {"gelu": "none", "gelu_tanh": "tanh"}
"""GELU (Hendrycks & Gimpel 2016) and its approximation, each by what torch calls it."""

NEW_ACTIVATION = "gelu"
"""Of new models: on a CPU the exact one takes a fourth of the time of the other (measured: 0.11 ms against 0.48)."""


@dataclass(frozen=True)
class TransformerConfig:
    """Everything that gives the network its shape.

    Args:
        vocab_size: V, reserved ids included.
        context: longest prefix in tokens.
        n_layer: blocks.
        n_head: attention heads; divides n_embd.
        n_embd: width C.
        banned: ids that never come out (the separator and <unk> have no text); their probability is 0.
        activation: of the MLPs, "gelu" or "gelu_tanh"; what does not say has GPT-2's, the approximation.
    """

    vocab_size: int
    context: int
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    banned: Sequence[int] = ()
    activation: str = "gelu_tanh"

    def __post_init__(self) -> None:
        object.__setattr__(self, "banned", tuple(int(i) for i in self.banned))
        for name in ("vocab_size", "context", "n_layer", "n_head", "n_embd"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise CheckpointError(f"TransformerConfig: {name}={getattr(self, name)!r} must be a positive integer")
        if self.n_embd % self.n_head:
            raise CheckpointError(f"TransformerConfig: n_embd={self.n_embd} is no multiple of n_head={self.n_head}")
        if any(not 0 <= i < self.vocab_size for i in self.banned) or len(set(self.banned)) >= self.vocab_size:
            raise CheckpointError(f"TransformerConfig: banned={self.banned} must be ids below {self.vocab_size}")
        if self.activation not in ACTIVATIONS:
            raise CheckpointError(
                f"TransformerConfig: activation={self.activation!r} must be one of {', '.join(ACTIVATIONS)}"
            )

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {**asdict(self), "banned": list(self.banned)}


class KVCache:
    """Keys and values of the prefixes of B rows, each row at a position of its own.

    Args:
        config: the network's shape.
        rows: B.
        device: where the tensors live.
        dtype: of the tensors; must equal the `product_dtype` of the network's weights.
    """

    def __init__(
        self,
        config: TransformerConfig,
        rows: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (config.n_layer, rows, config.n_head, config.context, config.n_embd // config.n_head)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.lengths = torch.zeros(rows, dtype=torch.long, device=device)
        """(B,) how many slots of each row are filled."""

    def holds(self, lengths: Int[Tensor, " B"]) -> Bool[Tensor, " B"]:
        """Whether each row could go on from its first so many tokens."""
        return lengths <= self.lengths

    def keep(self, rows: Int[Tensor, " K"]) -> None:
        """Drops all rows but these, in this order."""
        self.keys, self.values, self.lengths = self.keys[:, rows], self.values[:, rows], self.lengths[rows]


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.n_embd
        self.n_head = config.n_head
        self.approximate = ACTIVATIONS[config.activation]
        self.ln_1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.ln_2 = nn.LayerNorm(width)
        self.fc = nn.Linear(width, 4 * width)
        self.out = nn.Linear(4 * width, width)

    def project(self, x: Float[Tensor, "B T C"]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, H, T, D)."""
        b, t, c = x.shape
        q, k, v = self.qkv(self.ln_1(x)).view(b, t, 3, self.n_head, c // self.n_head).permute(2, 0, 3, 1, 4)
        return q, k, v

    def finish(self, x: Float[Tensor, "B T C"], attended: Float[Tensor, "B H T D"]) -> Float[Tensor, "B T C"]:
        """The rest of the block, once attention is done."""
        x = x + self.proj(attended.transpose(1, 2).reshape(x.shape))
        hidden: Tensor = x + self.out(F.gelu(self.fc(self.ln_2(x)), approximate=self.approximate))
        return hidden


class Transformer(CausalNetwork):
    """The network; its cache is a `KVCache`.

    Args:
        config: its shape.
    """

    kind: ClassVar[str] = "transformer"
    config: TransformerConfig

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.context, config.n_embd)
        self.blocks: Sequence[Block] = nn.ModuleList(Block(config) for _ in range(config.n_layer))  # type: ignore[assignment]
        self.ln_f = nn.LayerNorm(config.n_embd)
        self.register_buffer("banned_bias", bias_of(tuple(config.banned), config.vocab_size), persistent=False)
        self.apply(_init)
        for block in self.blocks:  # residual branches are scaled by depth (GPT-2, section 2.3)
            for layer in (block.proj, block.out):
                nn.init.normal_(layer.weight, std=0.02 / (2 * config.n_layer) ** 0.5)

    @property
    def width(self) -> int:
        """C."""
        return self.config.n_embd

    @property
    def head(self) -> Float[Tensor, "V C"]:
        """The embedding: the head is tied to it (Press & Wolf 2017)."""
        return self.wte.weight

    def matrices(self) -> list[nn.Parameter]:
        """Those of the blocks."""
        return [weight for weight in self.blocks.parameters() if weight.ndim == 2]  # type: ignore[attr-defined]

    def new_cache(self, rows: int, slots: int) -> KVCache:
        """A `KVCache` as wide as is needed: it may be the largest tensor of all."""
        return KVCache(replace(self.config, context=slots), rows, self.device, product_dtype(self.wte.weight))

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T C"]:
        """Hidden state after each token of left-aligned rows; what stands at padding means nothing."""
        x = self._embed(tokens, torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            q, k, v = block.project(x)
            x = block.finish(x, F.scaled_dot_product_attention(q, k, v, is_causal=True))
        return self._norm(x)

    def prefill(
        self, tokens: Int[Tensor, "R T"], lengths: Int[Tensor, " R"], cache: KVCache, rows: Int[Tensor, " R"]
    ) -> Float[Tensor, "R T C"]:
        """`forward` of fresh prefixes that also fills their rows of the cache.

        Args:
            tokens: left-aligned prefixes.
            lengths: tokens in each.
            cache: is written at `rows`; what stood there is gone.
            rows: which rows of the cache these are.
        """
        t = tokens.shape[1]
        x = self._embed(tokens, torch.arange(t, device=tokens.device))
        for i, block in enumerate(self.blocks):
            q, k, v = block.project(x)
            # Slots beyond a row's length get padding: `decode` writes a slot before it looks at it.
            cache.keys[i, rows, :, :t] = k
            cache.values[i, rows, :, :t] = v
            x = block.finish(x, F.scaled_dot_product_attention(q, k, v, is_causal=True))
        cache.lengths[rows] = lengths
        return self._norm(x)

    def decode(self, tokens: Int[Tensor, " B"], cache: KVCache) -> Float[Tensor, "B C"]:
        """Hidden state after one more token in every row; each is written at its row's own position."""
        longest = int(cache.lengths.max()) + 1
        if longest > self.config.context:
            raise CheckpointError(f"a prefix of {longest} tokens does not fit a context of {self.config.context}")
        return self.decode_within(tokens, cache, longest)

    def decode_within(self, tokens: Int[Tensor, " B"], cache: KVCache, slots: int) -> Float[Tensor, "B C"]:
        """`decode` where every prefix is known to fit `slots`, the new token included; asks the device nothing."""
        positions = cache.lengths
        x = self._embed(tokens[:, None], positions[:, None])
        seen = torch.arange(slots, device=tokens.device) <= positions[:, None]
        mask = torch.zeros(seen.shape, dtype=cache.keys.dtype, device=x.device)
        mask = mask.masked_fill_(~seen, float("-inf"))[:, None, None]
        every = torch.arange(len(tokens), device=tokens.device)
        for i, block in enumerate(self.blocks):
            q, k, v = block.project(x)
            keys, values = cache.keys[i], cache.values[i]
            keys[every, :, positions] = k[:, :, 0]
            values[every, :, positions] = v[:, :, 0]
            attended = F.scaled_dot_product_attention(q, keys[:, :, :slots], values[:, :, :slots], attn_mask=mask)
            x = block.finish(x, attended)
        cache.lengths = positions + 1
        return self._norm(x)[:, 0]

    def _embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        if tokens.shape[1] > self.config.context:
            raise CheckpointError(
                f"a prefix of {tokens.shape[1]} tokens does not fit a context of {self.config.context}"
            )
        x: Tensor = self.wte(tokens) + self.wpe(positions)
        return x

    def _norm(self, x: Tensor) -> Tensor:
        normed: Tensor = self.ln_f(x)
        return normed


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
