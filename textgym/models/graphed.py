"""`Transformer.decode` as a CUDA graph: one launch a token in place of hundreds, which is what decoding waits for.

A graph holds addresses and shapes, so it serves one cache and one network, whose weights may change in place. It
looks at every slot of the cache, filled or not, since it cannot ask how many are.
"""

import copy
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from textgym.models.causal_network import CausalNetwork, product_dtype
from textgym.models.transformer import KVCache, Transformer


def key_of(network: CausalNetwork, rows: int, slots: int) -> tuple[Any, ...]:
    """What must stay for a graph to stay right: the size of the cache, the dtype, the addresses of the weights."""
    return rows, slots, product_dtype(network.banned_bias), *(p.data_ptr() for p in network.parameters())


class GraphedDecode:
    """`transformer.decode(tokens, cache)` by replay, for one cache on a CUDA device.

    Decode a few tokens the plain way first: what libraries allocate at their first call must not be in the graph.

    Args:
        transformer: the network; the graph is made inside autocast if this is.
        cache: keys and values that every replay reads and writes; its `lengths` may be set between replays.

    Attributes:
        key: `key_of` its network and cache.
    """

    def __init__(self, transformer: Transformer, cache: KVCache) -> None:
        self.key = key_of(transformer, len(cache.lengths), cache.keys.shape[3])
        self._cache = cache
        self._inside = copy.copy(cache)  # the same keys and values; lengths at an address of their own
        self._inside.lengths = cache.lengths.clone()
        self._tokens = torch.zeros_like(cache.lengths)
        self._graph = torch.cuda.CUDAGraph()
        lengths = self._inside.lengths
        kind = lengths.device.type
        # Weights cast before the capture would stay as they were: in the graph each replay casts them anew.
        autocast = torch.autocast(
            kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind), cache_enabled=False
        )
        with torch.no_grad(), autocast, torch.cuda.graph(self._graph):
            self._hidden = transformer.decode_within(self._tokens, self._inside, cache.keys.shape[3])
        self._inside.lengths = lengths

    def __call__(self, tokens: Int[Tensor, " B"]) -> Float[Tensor, "B C"]:
        """Hidden state after one more token in every row; every row has room for it, which is not checked."""
        self._tokens.copy_(tokens)
        self._inside.lengths.copy_(self._cache.lengths)
        self._graph.replay()
        self._cache.lengths = self._cache.lengths + 1
        return self._hidden.clone()
