"""A state as one file: nested dicts of tensors, numpy arrays and JSON values, as safetensors. Never pickle.

The tensors are the file's; all else is JSON in its header, with a checksum over both. The file is written beside its
place and moved there when it is whole: after `kill -9` there is the old one or the new one. There is no fsync, which
takes longer than all the rest for a small model; after a power failure the checksum tells whether the file is whole.
"""

import json
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from textgym.errors import CheckpointError

State = dict[str, Any]
"""Nested dicts whose leaves are tensors, numpy arrays and JSON values."""

SUFFIX = ".safetensors"
VERSION = 1
"""Of the files; raised when older code could not read what newer code writes."""

_DTYPES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_state(path: Path, state: State) -> None:
    """Writes a file whole or not at all.

    Raises:
        OSError: the folder is missing, full or read-only; what stood at `path` before still stands.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_take_apart(state, "", tensors))
    # Large elements first: a tensor must begin at a multiple of its element's size.
    parts = sorted(tensors.items(), key=lambda part: (-part[1].element_size(), part[0]))
    partial = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with partial.open("xb") as file:
            file.write(_header(text, parts))
            for _, tensor in parts:  # not joined first: that would take the memory, and most of the time, twice
                file.write(_bytes(tensor))
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink()


def read_state(path: Path) -> State:
    """What `write_state` wrote.

    Raises:
        CheckpointError: the file is missing, damaged, or of another kind or version.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        if (metadata.get("textgym"), metadata.get("version")) != ("training", str(VERSION)):
            raise CheckpointError(
                f"{path} is no checkpoint of a training that this TextGym reads (version {VERSION}): "
                f"it says {metadata.get('textgym')!r}, version {metadata.get('version')!r}"
            )
        if metadata["crc32"] != _checksum(metadata["json"], tensors):
            raise CheckpointError(f"the checkpoint {path} is damaged: its checksum does not match")
        state: State = _put_together(json.loads(metadata["json"]), tensors)
    except (OSError, SafetensorError, KeyError) as error:
        raise CheckpointError(f"the checkpoint {path} is damaged or missing ({error})") from error
    return state


def remove_partial(folder: Path) -> None:
    """Removes what a process that was killed had half written."""
    for partial in folder.glob(f".*{SUFFIX}.*.tmp"):
        partial.unlink()


def _header(text: str, parts: list[tuple[str, Tensor]]) -> bytes:
    """Length and JSON header of a safetensors file, padded so that the tensors begin at a multiple of 8."""
    metadata = {"textgym": "training", "version": str(VERSION), "json": text, "crc32": _checksum(text, dict(parts))}
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, tensor in parts:
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded


def _bytes(tensor: Tensor) -> memoryview:
    view: memoryview = tensor.reshape(-1).view(torch.uint8).numpy().data
    return view


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    crc = zlib.crc32(text.encode())
    for name in sorted(tensors):
        crc = zlib.crc32(_bytes(tensors[name]), crc)
    return f"{crc:08x}"


def _take_apart(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """A state as JSON; arrays and tensors go to `tensors` under their paths."""
    match value:
        case dict():
            return {key: _take_apart(part, f"{path}/{key}", tensors) for key, part in value.items()}
        case Tensor():
            tensors[path] = value.detach().cpu().contiguous()
            return {"$tensor": path}
        case np.ndarray() if value.dtype.kind in "bif":
            tensors[path] = torch.from_numpy(np.array(value, order="C"))
            return {"$array": path}
        case np.ndarray():
            return value.tolist()
    return value


def _put_together(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    match value:
        case {"$tensor": path}:
            return tensors[path]
        case {"$array": path}:
            return tensors[path].numpy()
        case dict():
            return {key: _put_together(part, tensors) for key, part in value.items()}
    return value
