"""A model folder without its weights: what config.json says, sizes by name. Loads no torch.

A folder holds config.json, model.safetensors and tokenizer.json. config.json is written last, so that a folder that
has one is complete; it states the hash of the weights, so that a folder of two saves is noticed. A folder of Hugging
Face's is one too, by its name or as ``hf:FOLDER``; ``hf:NAME`` is one on their hub.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from textgym.errors import CheckpointError, did_you_mean

CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE = "config.json", "model.safetensors", "tokenizer.json"

FACTS_FILE = "textgym.json"
"""What we know of a model that is saved as Hugging Face saves them."""

HF = "hf:"
"""Begins the name of a model of Hugging Face."""

VERSION = 1
"""Of the layout of a model folder; raised when older code could not read what newer code writes."""

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"n_layer": 2, "n_head": 2, "n_embd": 64},
    "small": {"n_layer": 4, "n_head": 4, "n_embd": 128},
    "base": {"n_layer": 6, "n_head": 8, "n_embd": 256},
    "large": {"n_layer": 8, "n_head": 8, "n_embd": 512},
    "lstm-tiny": {"kind": "lstm", "n_layer": 2, "n_embd": 80},
    "lstm-small": {"kind": "lstm", "n_layer": 2, "n_embd": 224},
}
"""Architectures by name: 0.1, 0.8, 4.7 and 25 million weights beside the embeddings, and LSTMs of 0.1 and 0.8."""

NETWORKS = ("transformer", "lstm")
"""What the folder of a network says it is."""

_KEYS = {"config": dict, "tokenizer": str, "sep_id": int, "eos_id": int, "weights": str, "metadata": dict}


SHIPPED = Path(__file__).parent / "shipped"
"""The models that come with the package, a folder each."""


def shipped_names() -> list[str]:
    """Models that can be named without a folder."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{CONFIG_FILE}"))


def model_folder(name: Path | str) -> Path:
    """The folder that a name means: that folder, or one that comes with the package where there is no such folder.

    Of ``hf:NAME`` it is the folder that was downloaded; without it, or a way to it, a folder that is not there.
    """
    if str(name).startswith(HF):
        return _of_hugging_face(str(name).removeprefix(HF))
    path = Path(name)
    shipped = SHIPPED / path
    own = path.exists() or len(path.parts) != 1
    return path if own or not (shipped / CONFIG_FILE).is_file() else shipped


def _of_hugging_face(name: str) -> Path:
    path = Path(name).expanduser()
    if path.exists() or path.is_absolute():
        return path
    from textgym.models.hf_files import open_saved

    try:
        return open_saved(name).folder
    except CheckpointError:
        return path


def tokenizer_of(name: Path | str) -> str:
    """What opens the tokenizer of a model: its file, or its folder where Hugging Face may have several files."""
    folder = model_folder(name)
    own = folder / TOKENIZER_FILE
    return str(folder if is_hugging_face(folder) and not own.is_file() else own)


def is_hugging_face(folder: Path) -> bool:
    """Whether `save_pretrained` of transformers has made a folder."""
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "textgym" not in config and "model_type" in config


def facts_of(folder: Path) -> dict[str, Any]:
    """What `FACTS_FILE` of a folder says; nothing where there is none.

    Raises:
        CheckpointError: it cannot be read.
    """
    path = folder / FACTS_FILE
    if not path.is_file():
        return {}
    try:
        facts: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({error}). Take another copy.") from error
    if not isinstance(facts, dict) or facts.get("version") != VERSION:
        raise CheckpointError(
            f"{path} is not of version {VERSION} of the folder's layout. Take another copy, or update"
        )
    return facts


def peek(folder: Path | str) -> dict[str, Any]:
    """What config.json of a model folder says: `config`, `tokenizer`, `sep_id`, `eos_id`, `weights`, `metadata`.

    Reads that one file and imports no torch. Of a folder of Hugging Face's, `config` is theirs, `weights` is computed,
    and `tokenizer`, `sep_id` and `eos_id` are there if we have saved it.

    Raises:
        CheckpointError: where there is no such folder, or it holds no model that this version can read.
    """
    folder = model_folder(folder)
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(_missing(folder))
    try:
        config: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({error}). Take another copy or train anew.") from error
    kind = config.get("textgym") if isinstance(config, dict) else None
    if kind is None and isinstance(config, dict) and "model_type" in config:
        return {"metadata": {}, **facts_of(folder), "textgym": "hf", "config": config, "weights": _hash(folder)}
    if kind not in NETWORKS:
        known = " or ".join(f'"{name}"' for name in NETWORKS)
        raise CheckpointError(f'{path} is not of a network of TextGym: it says "textgym": {kind!r}, not {known}')
    if config.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has version {config.get('version')!r} of the folder's layout, this TextGym reads version {VERSION}"
            ". Load it with the TextGym that saved it, or update."
        )
    for key, kind in _KEYS.items():
        if not isinstance(config.get(key), kind):
            raise CheckpointError(
                f"{path} is damaged: {key!r} is {config.get(key)!r}, it should be of type {kind.__name__}"
            )
    checked: dict[str, Any] = config
    return checked


def _hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def _missing(folder: Path) -> str:
    if folder.is_dir():
        inside = [path.parent.name for path in sorted(folder.glob(f"*/{CONFIG_FILE}"))]
        hint = f"Did you mean {folder / inside[0]}?" if inside else f"A model folder holds {CONFIG_FILE}."
        return f"{folder} holds no model: {CONFIG_FILE} is missing. {hint}"
    if folder.is_file():
        return f"{folder} is a file; a model is a folder with {CONFIG_FILE}, {WEIGHTS_FILE} and {TOKENIZER_FILE} in it"
    siblings = [path.parent.name for path in folder.parent.glob(f"*/{CONFIG_FILE}")]
    siblings += shipped_names() if len(folder.parts) == 1 else []
    hint = f" {did_you_mean(folder.name, siblings)}" if siblings else ""
    return f"no model folder {folder}.{hint}"
