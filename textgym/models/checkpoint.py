"""Networks as folders: config.json, model.safetensors, tokenizer.json. Never pickle.

Every file is written beside its place and moved there in one step, config.json last.
"""

import json
import os
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from torch import Tensor

from textgym.errors import CheckpointError, TokenizerError, UnknownNameError
from textgym.models.causal_network import CausalNetwork
from textgym.models.folder import (
    CONFIG_FILE,
    HF,
    SIZES,
    TOKENIZER_FILE,
    VERSION,
    WEIGHTS_FILE,
    is_hugging_face,
    model_folder,
    peek,
    tokenizer_of,
)
from textgym.models.hf_network import HuggingFaceNetwork
from textgym.models.kinds import KINDS, config_of, network_of, new_shape
from textgym.models.network_lm import NetworkLM, bytes_hash, weights_bytes
from textgym.models.transformer import Transformer
from textgym.text.reserved import ReservedIds
from textgym.text.tokenizers import load_tokenizer, tokenizer_to_json
from textgym.types import Tokenizer

__all__ = [
    "SIZES",
    "Checkpoint",
    "load_checkpoint",
    "load_language_model",
    "new_model",
    "peek",
    "require_fit",
    "save_checkpoint",
]

EARLIER = {Transformer.kind: {"activation": "gelu_tanh"}}
"""What a model of an earlier version does not say of itself."""


@dataclass(frozen=True)
class Checkpoint:
    """A model and what its ids mean.

    Attributes:
        model: the network.
        tokenizer: the one it was trained with.
        metadata: whatever was saved beside it, e.g. `perplexity`.
        sep_id: stands between prompt and completion.
        eos_id: ends a completion.
    """

    model: CausalNetwork
    tokenizer: ReservedIds
    metadata: dict[str, Any]
    sep_id: int
    eos_id: int


def new_model(
    size: str, *, vocab_size: int, context: int, banned: tuple[int, ...] = (), seed: int = 0
) -> CausalNetwork:
    """An untrained model; the same seed gives the same weights. Torch's global random state stays as it is.

    Args:
        size: a key of `SIZES`.
        vocab_size: V.
        context: longest prefix in tokens.
        banned: ids that never come out.
        seed: of the weights.
    """
    if size not in SIZES:
        raise UnknownNameError("model size", size, SIZES)
    own = {"vocab_size": vocab_size, "context": context, "banned": banned}
    config = config_of(new_shape({**own, **SIZES[size]}))
    with torch.random.fork_rng(devices=[]):  # torch.manual_seed would reseed the GPUs as well
        torch.default_generator.manual_seed(seed)
        return network_of(config)


def save_checkpoint(
    folder: Path | str,
    model: CausalNetwork,
    tokenizer: Tokenizer,
    metadata: dict[str, Any] | None = None,
    *,
    half: bool = False,
) -> None:
    """Saves a model with its tokenizer; what stood there is replaced.

    Args:
        folder: is made where it is missing.
        model: the network.
        tokenizer: the one it was trained with.
        metadata: JSON-able values, e.g. `{"perplexity": 38.2, "corpus": "docstrings"}`.
        half: weights in float16, half the size; they are loaded as float32.

    Raises:
        CheckpointError: where tokenizer and model differ in their vocabulary, or the folder cannot be written.
    """
    if tokenizer.vocab_size != model.config.vocab_size:
        raise CheckpointError(
            f"this tokenizer has {tokenizer.vocab_size:,} tokens, the model {model.config.vocab_size:,}: "
            "save the tokenizer that the model was trained with"
        )
    if isinstance(model, HuggingFaceNetwork):
        _save_hugging_face(Path(folder), model, tokenizer, metadata or {}, half)
        return
    weights = weights_bytes(model, torch.float16 if half else None)
    config = {
        "textgym": model.kind,
        "version": VERSION,
        "config": model.config.to_dict(),
        "tokenizer": tokenizer.signature,
        "sep_id": int(tokenizer.sep_id),
        "eos_id": int(tokenizer.eos_id),
        "weights": bytes_hash(weights),
        **({"dtype": "float16"} if half else {}),
        "metadata": metadata or {},
    }
    contents = {
        WEIGHTS_FILE: weights,
        TOKENIZER_FILE: (tokenizer_to_json(tokenizer) + "\n").encode(),
        CONFIG_FILE: (json.dumps(config, indent=1, ensure_ascii=False) + "\n").encode(),
    }
    try:
        _write_all(Path(folder), contents)
    except OSError as error:
        raise CheckpointError(f"the model cannot be saved in {folder}: {error}") from error


def load_checkpoint(folder: Path | str, device: torch.device | str = "cpu") -> Checkpoint:
    """Loads what `save_checkpoint` saved, or what transformers saved.

    Args:
        folder: a model folder, or the name of a shipped model; ``hf:NAME_OR_FOLDER`` of Hugging Face.
        device: where the network goes.

    Raises:
        CheckpointError: where something is missing, cut off, damaged, of another version, or does not fit together.
    """
    name, folder = str(folder), model_folder(folder)
    if name.startswith(HF) or is_hugging_face(folder):
        return _load_hugging_face(name.removeprefix(HF), device)
    config = peek(folder)
    tokenizer = _load_tokenizer(folder, config["tokenizer"])
    model = _load_model(folder, config)
    if tokenizer.vocab_size != model.config.vocab_size:
        raise CheckpointError(
            f"{folder}: tokenizer of {tokenizer.vocab_size:,} tokens, model of {model.config.vocab_size:,}"
        )
    return Checkpoint(model.to(device), tokenizer, config["metadata"], config["sep_id"], config["eos_id"])


def require_fit(checkpoint: Checkpoint, task_tokenizer: Tokenizer, observation_length: int, name: str) -> None:
    """Checks that a model can act in a task.

    Args:
        checkpoint: the model.
        task_tokenizer: the task's.
        observation_length: L of the task's observations.
        name: what to call the model: the folder, as the user gave it.

    Raises:
        CheckpointError: where the vocabularies differ, or the model's context is shorter than L.
    """
    own = checkpoint.tokenizer
    if own.signature != task_tokenizer.signature:
        raise CheckpointError(
            f"{name} was made with a vocabulary of {own.vocab_size:,} tokens (sha {_sha(own.signature)}...), "
            f"this task has {task_tokenizer.vocab_size:,} (sha {_sha(task_tokenizer.signature)}...).\n"
            f"    Use its own tokenizer: --tokenizer {tokenizer_of(name)}"
        )
    context = checkpoint.model.config.context
    if context < observation_length:
        raise CheckpointError(
            f"{name} has a context of {context} tokens, this task's observations have {observation_length} "
            "(longest prompt, separator and budget).\n"
            "    Ask for fewer new tokens or shorter prompts, or pretrain a model for this task."
        )


def load_language_model(folder: Path | str, device: torch.device | str = "cpu") -> NetworkLM:
    """A model folder as `textgym.types.LanguageModel`; raises as `load_checkpoint` does."""
    checkpoint = load_checkpoint(folder, device)
    return NetworkLM(checkpoint.model, sep_id=checkpoint.sep_id)


def _load_hugging_face(name: str, device: torch.device | str) -> Checkpoint:
    from textgym.models.hf_checkpoint import load_network
    from textgym.models.hf_files import open_saved

    saved = open_saved(name)
    with torch.random.fork_rng(devices=[]):
        network, tokenizer = load_network(saved)
    metadata = peek(saved.folder)["metadata"]
    return Checkpoint(network.to(device), tokenizer, metadata, tokenizer.sep_id, tokenizer.eos_id)


def _save_hugging_face(
    folder: Path, network: HuggingFaceNetwork, tokenizer: Tokenizer, metadata: dict[str, Any], half: bool
) -> None:
    from textgym.models.hf_checkpoint import save_network

    try:
        save_network(folder, network, tokenizer, metadata, half=half)
    except OSError as error:
        raise CheckpointError(f"the model cannot be saved in {folder}: {error}") from error


def _write_all(folder: Path, contents: dict[str, bytes]) -> None:
    """All files, or none: each goes to a temporary file first, and only then are they moved, in this order."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as temporary:
        for name, content in contents.items():
            with (Path(temporary) / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for name in contents:
            (Path(temporary) / name).replace(folder / name)


def _load_tokenizer(folder: Path, signature: str) -> ReservedIds:
    path = folder / TOKENIZER_FILE
    try:
        tokenizer = load_tokenizer(path)
    except TokenizerError as error:
        raise CheckpointError(f"{folder} is no whole model folder: {error}") from error
    if tokenizer.signature != signature:
        raise CheckpointError(
            f"{path} is not the tokenizer of this model: it is {tokenizer.signature}, {CONFIG_FILE} names {signature}"
        )
    return tokenizer


def _load_model(folder: Path, config: dict[str, Any]) -> CausalNetwork:
    path, kind = folder / WEIGHTS_FILE, config["textgym"]
    shape = {"kind": kind, **EARLIER.get(kind, {}), **config["config"]}
    names = {"kind", *(field.name for field in fields(KINDS[kind][0]))}
    if set(shape) != names or shape["kind"] != kind:
        raise CheckpointError(f"{folder / CONFIG_FILE}: 'config' has the keys {sorted(shape)}, not {sorted(names)}")
    try:
        content = path.read_bytes()
        tensors = tensors_from_bytes(content)
    except OSError as error:
        raise CheckpointError(f"{path} is missing or cannot be read ({error}). Take another copy.") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path} is cut off or damaged ({error}). Take another copy or train anew.") from error
    with torch.random.fork_rng(devices=[]):  # the weights that are replaced at once would use up random numbers
        try:
            model = network_of(config_of(shape))
        except (TypeError, CheckpointError) as error:
            raise CheckpointError(f"{folder / CONFIG_FILE}: 'config' is damaged ({error})") from error
    half = config.get("dtype") == "float16"
    _check_tensors(path, model.state_dict(), tensors, torch.float16 if half else torch.float32)
    if bytes_hash(content) != config["weights"]:
        raise CheckpointError(
            f"{path} is not what {CONFIG_FILE} speaks of: it was changed, or a save was interrupted. Take another copy."
        )
    model.load_state_dict(tensors)
    return model


def _check_tensors(path: Path, wanted: dict[str, Tensor], found: dict[str, Tensor], dtype: torch.dtype) -> None:
    if set(wanted) != set(found):
        absent, strange = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
        raise CheckpointError(f"{path} does not hold this model: lacking {absent}, unknown {strange}")
    for name, tensor in wanted.items():
        if found[name].shape != tensor.shape or found[name].dtype != dtype:
            raise CheckpointError(
                f"{path}: tensor {name!r} is {found[name].dtype} {tuple(found[name].shape)}, "
                f"{CONFIG_FILE} asks for {dtype} {tuple(tensor.shape)}"
            )
        if not bool(torch.isfinite(found[name]).all()):
            raise CheckpointError(f"{path}: tensor {name!r} holds NaN or infinity; the training had diverged")


def _sha(signature: str) -> str:
    return signature.rsplit(":", 1)[-1][:4]
