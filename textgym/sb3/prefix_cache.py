"""A cache that recognises its rows by their tokens, never by the order of the calls.

Stable-Baselines3 calls a policy from many places: rollouts, an evaluation in mid-rollout, predictions with other rows.
So each call says what prefixes it has, and whatever part of them the cache already holds is reused.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from textgym.models.causal_network import Cache, CausalNetwork
from textgym.models.graphed import GraphedDecode, key_of
from textgym.models.transformer import Transformer

WARM_UP = 3
"""Tokens that a cache on a CUDA device decodes before a graph takes over."""


class PrefixCache:
    """Hidden states of prefixes at the price of their last token.

    Emptied when the parameters' version counters change; whoever writes through `param.data` (which leaves the
    counters alone) must call `clear`.

    Args:
        cuda_graph: whether to decode by CUDA graph where the network is a Transformer on a CUDA device.
    """

    def __init__(self, cuda_graph: bool = True) -> None:
        self._cuda_graph = cuda_graph
        self._cache: Cache | None = None
        self._tokens: Tensor | None = None
        self._graph: GraphedDecode | None = None
        self._decoded = 0
        self._version = -1

    def clear(self) -> None:
        """Forgets everything. A graph stays, with the memory that it reads, since it is dear to make."""
        self._tokens = None
        if self._graph is None:
            self._cache, self._decoded = None, 0

    @torch.no_grad()
    def hidden(
        self, network: CausalNetwork, tokens: Int[Tensor, "B L"], lengths: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C"]:
        """Hidden state after the last token of each prefix, without gradient.

        Args:
            network: its parameters' versions are watched.
            tokens: left-aligned prefixes; what stands beyond `lengths` is not looked at.
            lengths: tokens in each prefix, at least 1.
        """
        rows, width = tokens.shape
        version = sum(p._version for p in network.parameters())
        cache, known = self._cache, self._tokens
        if cache is None or known is None or known.shape != tokens.shape or version != self._version:
            cache = self._cache = self._emptied(network, rows, width)
            known = torch.full_like(tokens, -1)
            self._version = version
        before = lengths - 1  # the last token is always decoded: also where nothing is new
        beyond = torch.arange(width, device=tokens.device) >= before[:, None]
        fits = ((tokens == known) | beyond).all(1) & cache.holds(before)
        stale = torch.nonzero(~fits & (before > 0))[:, 0]
        if len(stale):
            longest = int(before[stale].max())
            network.prefill(tokens[stale, :longest].clamp(min=0), before[stale], cache, stale)
        cache.lengths = before
        self._tokens = tokens.clone()
        return self._decode(network, tokens.gather(1, before[:, None])[:, 0], cache)

    def keep(self, rows: Int[Tensor, " K"]) -> bool:
        """Drops all rows but these, in this order; a graph has room for all of its rows, and keeps them.

        Returns:
            Whether they were dropped.
        """
        if self._graph is not None or self._cache is None or self._tokens is None:
            return False
        self._cache.keep(rows)
        self._tokens = self._tokens[rows]
        return True

    def _emptied(self, network: CausalNetwork, rows: int, slots: int) -> Cache:
        """Room for so many rows: that of the graph where it still serves."""
        if self._cache is not None and self._graph is not None and self._graph.key == key_of(network, rows, slots):
            return self._cache
        self._graph, self._decoded = None, 0
        cache: Cache = network.new_cache(rows, slots)
        return cache

    def _decode(self, network: CausalNetwork, tokens: Int[Tensor, " B"], cache: Cache) -> Float[Tensor, "B C"]:
        self._decoded += 1
        graphed = self._cuda_graph and tokens.is_cuda and isinstance(network, Transformer)
        if not graphed or self._decoded <= WARM_UP:
            return network.decode(tokens, cache)
        if self._graph is None:
            self._graph = GraphedDecode(network, cache)  # type: ignore[arg-type]
        return self._graph(tokens)
