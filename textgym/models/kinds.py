"""Networks from their shapes: mappings of JSON values, as `NetworkConfig.to_dict` gives them, each of some kind."""

from collections.abc import Mapping
from typing import Any

from textgym.errors import CheckpointError, UnknownNameError
from textgym.models.causal_network import CausalNetwork, NetworkConfig
from textgym.models.hf_network import HuggingFaceConfig, HuggingFaceNetwork
from textgym.models.lstm import LSTM, LSTMConfig
from textgym.models.transformer import NEW_ACTIVATION, Transformer, TransformerConfig

KINDS: dict[str, tuple[type[Any], type[CausalNetwork]]] = {
    Transformer.kind: (TransformerConfig, Transformer),
    LSTM.kind: (LSTMConfig, LSTM),
    HuggingFaceNetwork.kind: (HuggingFaceConfig, HuggingFaceNetwork),
}
"""Configuration and network of each kind."""


def config_of(shape: Mapping[str, Any]) -> NetworkConfig:
    """The configuration that a mapping describes; where it names no "kind", that of a Transformer.

    Raises:
        UnknownNameError: there is no such kind.
        CheckpointError: there can be no such network.
    """
    rest = dict(shape)
    kind = rest.pop("kind", Transformer.kind)
    if kind not in KINDS:
        raise UnknownNameError("kind of network", str(kind), KINDS)
    try:
        config: NetworkConfig = KINDS[kind][0](**rest)
    except TypeError as error:
        raise CheckpointError(f"a network of kind {kind!r} is not shaped so: {error}") from error
    return config


def network_of(config: NetworkConfig) -> CausalNetwork:
    """A network of this shape with random weights."""
    for of_kind, network in KINDS.values():
        if isinstance(config, of_kind):
            return network(config)
    raise CheckpointError(f"{type(config).__name__} is the shape of no known network")


def new_shape(shape: Mapping[str, Any]) -> dict[str, Any]:
    """The shape of a network that is made now: what later versions chose stands where it says nothing of it."""
    own = {"activation": NEW_ACTIVATION} if shape.get("kind", Transformer.kind) == Transformer.kind else {}
    return {**own, **shape}
