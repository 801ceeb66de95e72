"""Small models as folders: config.json and model.safetensors, never pickle. Loads no torch.

Both files are written beside their place and moved there in one step, config.json last; it states the hash of the
arrays, so that a folder of two saves is noticed.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from textgym.errors import CheckpointError
from textgym.models.folder import CONFIG_FILE, WEIGHTS_FILE
from textgym.text.store import write_atomic
from textgym.types import Arrays

VERSION = 1
"""Of the layout of a folder; raised when older code could not read what newer code writes."""


def save_arrays(
    folder: Path | str, kind: str, config: dict[str, Any], arrays: Arrays, files: Mapping[str, bytes] | None = None
) -> None:
    """Saves a model; what stood there is replaced.

    Args:
        folder: is made where it is missing.
        kind: what it is, e.g. "classifier".
        config: JSON-able values.
        arrays: the numbers, by name.
        files: what else belongs to it, by file name.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    folder = Path(folder)
    weights: bytes = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    known = {"textgym": kind, "version": VERSION, "weights": hashlib.sha256(weights).hexdigest(), **config}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in {**(files or {}), WEIGHTS_FILE: weights}.items():
            write_atomic(folder / name, content)
        write_atomic(folder / CONFIG_FILE, (json.dumps(known, indent=1, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise CheckpointError(f"the model cannot be saved in {folder}: {error}") from error


def load_arrays(folder: Path | str, kind: str) -> tuple[dict[str, Any], Arrays, str]:
    """What `save_arrays` saved: config, arrays, and a signature such as ``classifier:3f1c9a02b4d5e6f7``.

    Raises:
        CheckpointError: something is missing, cut off, damaged, of another kind or version, or not finite.
    """
    folder = Path(folder)
    config = _config(folder)
    if config.get("textgym") != kind:
        raise CheckpointError(f'{folder} holds no {kind}: {CONFIG_FILE} says "textgym": {config.get("textgym")!r}')
    if config.get("version") != VERSION:
        raise CheckpointError(
            f"{folder} has version {config.get('version')!r} of the folder's layout, this TextGym reads {VERSION}"
        )
    path = folder / WEIGHTS_FILE
    try:
        content = path.read_bytes()
        arrays: Arrays = load(content)
    except OSError as error:
        raise CheckpointError(f"{path} is missing or cannot be read ({error}). Take another copy.") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path} is cut off or damaged ({error}). Take another copy or train anew.") from error
    if hashlib.sha256(content).hexdigest() != config.get("weights"):
        raise CheckpointError(
            f"{path} is not what {CONFIG_FILE} speaks of: it was changed, or a save was interrupted. Take another copy."
        )
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise CheckpointError(f"{path}: {name!r} holds NaN or infinity; the training had diverged")
    return config, arrays, f"{kind}:{hashlib.sha256(_essence(config) + content).hexdigest()[:16]}"


def _essence(config: dict[str, Any]) -> bytes:
    """What of a config changes what the model says: all but the remarks."""
    return json.dumps({key: value for key, value in config.items() if key != "metadata"}, sort_keys=True).encode()


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    if not path.is_file():
        what = f"{folder} holds no model: {CONFIG_FILE} is missing" if folder.is_dir() else f"no model folder {folder}"
        raise CheckpointError(f"{what}. textgym fit makes one")
    try:
        config: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({error}). Take another copy or train anew.") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} should hold an object, not {type(config).__name__}")
    return config
