"""The laws of a network: run them on your own before a policy decodes with it."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from textgym.models.causal_network import Cache, CausalNetwork

ROWS = 4
"""Prefixes that are checked together, of different lengths."""


@torch.no_grad()
def check_network(network: CausalNetwork, *, sep_id: int = 1, tolerance: float = 1e-4, seed: int = 0) -> None:
    """Checks that a network keeps the contract of `textgym.models.causal_network.CausalNetwork`.

    Shapes; the same states in training mode; logits that are the head's; banned ids that never come out; and states
    that are equal whether they come from one pass or from a cache: with rows at different positions, right-padded,
    begun again, set back to an earlier prefix, and dropped.

    Args:
        network: what to check; its context must be 8 tokens at least.
        sep_id: the separator, which stands once in every prefix.
        tolerance: how far hidden states may differ.
        seed: of the random ids.

    Raises:
        AssertionError: a law is broken; the message says which.
    """
    generator = torch.Generator().manual_seed(seed)
    size = min(network.config.context, 16)
    _require(size >= 8, f"a context of {network.config.context} tokens: the check needs 8")
    tokens = _texts(network, (ROWS, size), sep_id, generator)
    whole = network(tokens)
    _check_states(network, tokens, whole, tolerance)
    starts = torch.tensor([1, 2, 4, 3][:ROWS], device=network.device)
    cache = network.new_cache(ROWS, size)
    filled = network.prefill(tokens[:, :4], starts, cache, torch.arange(ROWS, device=network.device))
    for row, start in enumerate(starts.tolist()):
        _require_equal(filled[row, :start], whole[row, :start], tolerance, f"prefill of row {row}")
    _decode(network, tokens, whole, cache, 2, tolerance, "rows at different positions")
    again = _texts(network, (2, size), sep_id, generator)
    tokens[1], tokens[3] = again[0], again[1]
    whole = network(tokens)
    network.prefill(
        tokens[[3, 1], :3], torch.tensor([2, 3], device=network.device), cache, torch.tensor([3, 1]).to(network.device)
    )
    _decode(network, tokens, whole, cache, 2, tolerance, "rows that began again")
    back = torch.where(cache.holds(cache.lengths - 1), cache.lengths - 1, cache.lengths)
    tokens[0, int(back[0])] = tokens[0, 0] if int(back[0]) else tokens[0, 1]
    whole, cache.lengths = network(tokens), back
    _decode(network, tokens, whole, cache, 1, tolerance, "rows that were set back")
    kept = torch.tensor([2, 0], device=network.device)
    cache.keep(kept)
    _decode(network, tokens[kept], whole[kept], cache, 1, tolerance, "rows that were kept when others went")


def _check_states(network: CausalNetwork, tokens: Tensor, whole: Tensor, tolerance: float) -> None:
    rows, size = tokens.shape
    _require(whole.shape == (rows, size, network.width), f"states of shape {tuple(whole.shape)}")
    mode = network.training
    states = network.train()(tokens)
    network.train(mode)
    _require_equal(states, whole, tolerance, "training mode (dropout must be off)")
    logits = network.logits(whole)
    expected = whole @ network.head.T + network.head_bias
    possible = network.banned_bias == 0
    _require_equal(logits[..., possible], expected[..., possible], 10 * tolerance, "logits and head")
    chances = logits.softmax(-1)
    _require(bool((chances[..., ~possible] == 0).all()), "a banned id has a probability above 0")
    changed = tokens.clone()
    changed[:, -1] = changed[:, 0]
    _require_equal(network(changed)[:, :-1], whole[:, :-1], tolerance, "states before a token that was changed")


def _decode(
    network: CausalNetwork,
    tokens: Int[Tensor, "B T"],
    whole: Float[Tensor, "B T C"],
    cache: Cache,
    steps: int,
    tolerance: float,
    what: str,
) -> None:
    every = torch.arange(len(tokens), device=tokens.device)
    for _ in range(steps):
        at = cache.lengths.clone()
        _require(bool(cache.holds(at).all()), f"{what}: the cache does not hold what it was filled with")
        states = network.decode(tokens[every, at], cache)
        _require(bool((cache.lengths == at + 1).all()), f"{what}: decode moves lengths to {cache.lengths.tolist()}")
        _require_equal(states, whole[every, at], tolerance, f"decode, {what}")


def _texts(network: CausalNetwork, shape: tuple[int, int], sep_id: int, generator: Any) -> Int[Tensor, "B T"]:
    """Ids that can come out, and the separator somewhere among the first four."""
    possible = torch.nonzero(network.banned_bias == 0)[:, 0].cpu()
    tokens = possible[torch.randint(0, len(possible), shape, generator=generator)]
    tokens[torch.arange(shape[0]), torch.randint(0, 4, shape[:1], generator=generator)] = sep_id
    return tokens.to(network.device)


def _require_equal(found: Tensor, wanted: Tensor, tolerance: float, what: str) -> None:
    _require(found.shape == wanted.shape, f"{what}: shapes {tuple(found.shape)} and {tuple(wanted.shape)}")
    apart = float((found - wanted).abs().max()) if found.numel() else 0.0
    _require(apart <= tolerance, f"{what}: states differ by up to {apart:.3g}, tolerance {tolerance:g}")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
