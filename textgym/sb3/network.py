"""The network that a policy or an extractor is asked for: of a checkpoint folder, of a named size, of a shape."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gymnasium import spaces

from textgym.errors import CheckpointError
from textgym.models.causal_network import CausalNetwork, NetworkConfig
from textgym.models.checkpoint import SIZES, load_checkpoint, peek
from textgym.models.hf_network import HuggingFaceNetwork
from textgym.models.kinds import config_of, network_of, new_shape

RESERVED = (0, 1)
"""<unk> and the separator: no text, so a policy made from an architecture never says them."""

Model = str | Path | Mapping[str, Any]
"""A checkpoint folder; ``hf:NAME_OR_FOLDER`` of Hugging Face; or an architecture, by name ("tiny", "lstm-small" ...) or
as a mapping (n_layer, n_head, n_embd; of an LSTM "kind": "lstm", n_layer, n_embd)."""


def build_network(
    model: Model, *, length: int, vocabulary: int, lora: Mapping[str, Any] | None = None
) -> CausalNetwork:
    """The network: with the weights of its folder, or random ones where only an architecture is named.

    Args:
        model: what was asked for.
        length: L of the observations.
        vocabulary: V.
        lora: settings of `peft.LoraConfig`, for a model of Hugging Face; None trains every weight.

    Raises:
        CheckpointError: no such folder, or one that does not fit the environment.
    """
    if is_folder(model):
        network = load_checkpoint(str(model)).model
        require_fit(network.config, length=length, vocabulary=vocabulary, name=str(model))
        return network if lora is None else _adapted(network, lora, str(model))
    if lora is not None:
        raise CheckpointError(f"lora adapts a model that is there, and model={model!r} is an architecture")
    shape = model if isinstance(model, Mapping) else SIZES[str(model)]
    own = {"vocab_size": vocabulary, "context": length, "banned": RESERVED}
    config = config_of(new_shape({**own, **shape}))
    require_fit(config, length=length, vocabulary=vocabulary, name=str(model))
    return network_of(config)


def _adapted(network: CausalNetwork, lora: Mapping[str, Any], name: str) -> CausalNetwork:
    if not isinstance(network, HuggingFaceNetwork):
        raise CheckpointError(f"lora adapts models of Hugging Face (hf:NAME_OR_FOLDER); {name} is a {network.kind}")
    return network.with_adapters(lora)


def shape_of(model: Model) -> dict[str, Any]:
    """What `build_network` makes the same network of, weights apart, where the folder is gone."""
    if not is_folder(model):
        return dict(model if isinstance(model, Mapping) else SIZES[str(model)])
    said = peek(str(model))
    if said["textgym"] == HuggingFaceNetwork.kind:  # their configuration alone does not say what ids mean
        return load_checkpoint(str(model)).model.config.to_dict()
    shape: dict[str, Any] = said["config"]
    return shape


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
