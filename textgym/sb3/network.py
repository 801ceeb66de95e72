"""The network that a policy or an extractor is asked for: of a checkpoint folder, of a named size, of a shape."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gymnasium import spaces

from textgym.errors import CheckpointError
from textgym.models.causal_network import CausalNetwork, NetworkConfig
from textgym.models.checkpoint import SIZES, load_checkpoint
from textgym.models.kinds import config_of, network_of, new_shape

RESERVED = (0, 1)
"""<unk> and the separator: no text, so a policy made from an architecture never says them."""

Model = str | Path | Mapping[str, Any]
"""A checkpoint folder; or an architecture by name ("tiny", "lstm-small", ...) or as a mapping (n_layer, n_head, n_embd;
with "kind": "lstm" that of an LSTM)."""


def build_network(model: Model, *, length: int, vocabulary: int) -> CausalNetwork:
    """The network: with the weights of its folder, or random ones where only an architecture is named.

    Args:
        model: what was asked for.
        length: L of the observations.
        vocabulary: V.

    Raises:
        CheckpointError: no such folder, or one that does not fit the environment.
    """
    if is_folder(model):
        network = load_checkpoint(str(model)).model
        require_fit(network.config, length=length, vocabulary=vocabulary, name=str(model))
        return network
    shape = model if isinstance(model, Mapping) else SIZES[str(model)]
    own = {"vocab_size": vocabulary, "context": length, "banned": RESERVED}
    config = config_of(new_shape({**own, **shape}))
    require_fit(config, length=length, vocabulary=vocabulary, name=str(model))
    return network_of(config)


def is_folder(model: Model) -> bool:
    """Whether this names a checkpoint folder, there or not, and no architecture."""
    return not isinstance(model, Mapping) and str(model) not in SIZES


def holds_tokens(space: spaces.Space[Any]) -> bool:
    """Whether observations of this space are token prefixes, padded with -1."""
    return isinstance(space, spaces.Box) and len(space.shape) == 1 and bool((space.low == -1).all())


def require_fit(config: NetworkConfig, *, length: int, vocabulary: int, name: str) -> None:
    """Checks that a network of this shape can act in an environment.

    Raises:
        CheckpointError: it has another vocabulary, or too short a context.
    """
    if config.vocab_size != vocabulary:
        raise CheckpointError(
            f"{name} has a vocabulary of {config.vocab_size:,} tokens, the environment has {vocabulary:,}. "
            "Make the environment with the model's own tokenizer: tokenizer='.../tokenizer.json'"
        )
    if config.context < length:
        raise CheckpointError(
            f"{name} has a context of {config.context} tokens, the environment's observations have {length}. "
            "Train a longer one, or lower max_new_tokens or max_prompt_tokens"
        )
