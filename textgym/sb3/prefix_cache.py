"""A KV cache that recognises its rows by their tokens, never by the order of the calls.

Stable-Baselines3 calls a policy from many places: rollouts, an evaluation in mid-rollout, predictions with other rows.
So each call says what prefixes it has, and whatever part of them the cache already holds is reused.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from textgym.models.graphed import GraphedDecode, key_of
from textgym.models.transformer import KVCache, Transformer, product_dtype

WARM_UP = 3
"""Tokens that a cache on a CUDA device decodes before a graph takes over."""


class PrefixCache:
    """Hidden states of prefixes at the price of their last token.

    Emptied when the parameters' version counters change; whoever writes through `param.data` (which leaves the
    counters alone) must call `clear`.

    Args:
        cuda_graph: whether to decode by CUDA graph where the network is on a CUDA device.
    """

    def __init__(self, cuda_graph: bool = True) -> None:
        self._cuda_graph = cuda_graph
        self._kv: KVCache | None = None
        self._tokens: Tensor | None = None
        self._graph: GraphedDecode | None = None
        self._decoded = 0
        self._version = -1

    def clear(self) -> None:
        """Forgets everything. A graph stays, with the memory that it reads, since it is dear to make."""
        self._tokens = None
        if self._graph is None:
            self._kv, self._decoded = None, 0

    @torch.no_grad()
    def hidden(
        self, transformer: Transformer, tokens: Int[Tensor, "B L"], lengths: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C"]:
        """Hidden state after the last token of each prefix, without gradient.

        Args:
            transformer: the network; its parameters' versions are watched.
            tokens: left-aligned prefixes; what stands beyond `lengths` is not looked at.
            lengths: tokens in each prefix, at least 1.
        """
        rows, width = tokens.shape
        version = sum(p._version for p in transformer.parameters())
        kv, known = self._kv, self._tokens
        if kv is None or known is None or known.shape != tokens.shape or version != self._version:
            kv = self._kv = self._emptied(transformer, rows)
            known = torch.full_like(tokens, -1)
            self._version = version
        before = lengths - 1  # the last token is always decoded: also where nothing is new
        beyond = torch.arange(width, device=tokens.device) >= before[:, None]
        fits = ((tokens == known) | beyond).all(1) & (kv.lengths >= before)
        stale = torch.nonzero(~fits & (before > 0))[:, 0]
        if len(stale):
            longest = int(before[stale].max())
            transformer.prefill(tokens[stale, :longest].clamp(min=0), before[stale], kv, stale)
        kv.lengths = before
        self._tokens = tokens.clone()
        return self._decode(transformer, tokens.gather(1, before[:, None])[:, 0], kv)

    def _emptied(self, transformer: Transformer, rows: int) -> KVCache:
        """Room for so many rows: that of the graph where it still serves."""
        if self._kv is not None and self._graph is not None and self._graph.key == key_of(transformer, rows):
            return self._kv
        self._graph, self._decoded = None, 0
        weight = transformer.wte.weight
        return KVCache(transformer.config, rows, weight.device, product_dtype(weight))

    def _decode(self, transformer: Transformer, tokens: Int[Tensor, " B"], kv: KVCache) -> Float[Tensor, "B C"]:
        self._decoded += 1
        if not (self._cuda_graph and tokens.is_cuda and self._decoded > WARM_UP):
            return transformer.decode(tokens, kv)
        if self._graph is None:
            self._graph = GraphedDecode(transformer, kv)
        return self._graph(tokens)
