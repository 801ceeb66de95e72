"""The cache of everything that is fitted: named arrays on disk under a content key, never pickled.

A file is written whole or not at all, and checked when read, so that read-only homes, full disks, two processes at once
and files cut short cost a refit at worst, never a wrong answer.
"""

import hashlib
import json
import logging
import os
import re
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import platformdirs
from safetensors import SafetensorError
from safetensors.numpy import load, save

from textgym.types import Arrays

logger = logging.getLogger("textgym")


class ArrayStore:
    """Arrays by key: from memory, else from a file, else made and kept in both.

    All arrays that come out are read-only, made or loaded, since memory is shared between callers: copy to change.

    Args:
        folder: where the files lie; made on first use. None keeps arrays in memory only.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._memory: dict[str, Arrays] = {}
        self._complained = False

    def fetch(self, kind: str, key: str, make: Callable[[], Arrays], note: str = "") -> Arrays:
        """The arrays under `key`; `make` is called only where neither memory nor a sound file holds them.

        Args:
            kind: what the arrays are, e.g. "ngram"; begins the file's name (letters, digits, `_`, `-`).
            key: everything that the arrays depend on, as one string; the file is named by its SHA-256.
            make: computes the arrays.
            note: what is logged at INFO while `make` runs, e.g. "fitting ngram:4 on docstrings".

        Raises:
            ValueError: `kind` cannot begin a file name.
        """
        if not re.fullmatch(r"[A-Za-z0-9_-]+", kind):
            raise ValueError(f"store kind {kind!r}: only letters, digits, '_' and '-' are allowed, it names a file")
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        name = f"{kind}-{digest[:16]}.safetensors"
        if name not in self._memory:
            arrays = self._read(name, digest)
            if arrays is None:
                if note:
                    logger.info("%s", note)
                arrays = {field: np.asarray(value, order="C") for field, value in make().items()}
                self._write(name, digest, arrays)
            self._memory[name] = {field: _read_only(value) for field, value in arrays.items()}
        return dict(self._memory[name])

    def _read(self, name: str, digest: str) -> Arrays | None:
        if self.folder is None:
            return None
        path = self.folder / name
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            logger.warning("cannot read the cache file %s (%s): computing it again", path, error)
            return None
        try:
            return _unseal(data, digest)
        except (SafetensorError, ValueError, KeyError) as error:
            logger.warning("the cache file %s is damaged (%s): computing it again", path, error)
            return None

    def _write(self, name: str, digest: str, arrays: Arrays) -> None:
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self.folder / name, _seal(arrays, digest))
        except OSError as error:
            if not self._complained:
                logger.warning(
                    "cannot write the cache folder %s (%s): what is fitted is kept in memory only. "
                    "Set TEXTGYM_CACHE or --cache-dir to a folder that can be written",
                    self.folder,
                    error,
                )
            self._complained = True


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all: beside its place first, then moved there.

    Raises:
        OSError: the folder is missing, full or read-only; what stood at `path` before still stands.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with partial.open("xb") as file:
            file.write(data)
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink()


def default_cache_dir() -> Path:
    """The cache folder: the environment variable TEXTGYM_CACHE, else the user's cache folder of this system."""
    named = os.environ.get("TEXTGYM_CACHE")
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("textgym", appauthor=False))


def pack_texts(texts: Sequence[str]) -> Arrays:
    """N texts as arrays: their UTF-8 bytes end to end, uint8, and N + 1 offsets, int64. See `unpack_texts`."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum([len(part) for part in encoded], out=offsets[1:])
    return {"bytes": np.frombuffer(b"".join(encoded), dtype=np.uint8), "offsets": offsets}


def unpack_texts(arrays: Arrays) -> list[str]:
    """The texts that `pack_texts` packed."""
    data, offsets = arrays["bytes"].tobytes(), arrays["offsets"].tolist()
    return [data[start:end].decode("utf-8", "surrogatepass") for start, end in pairwise(offsets)]


def _read_only(array: np.ndarray) -> np.ndarray:
    view: np.ndarray = array.view()
    view.flags.writeable = False
    return view


def _checksum(arrays: Arrays) -> str:
    """CRC-32 over names, types, shapes and bytes: a crash can leave a file of the right length full of zeros."""
    crc = 0
    for name in sorted(arrays):
        array = arrays[name]
        crc = zlib.crc32(f"{name} {array.dtype.str} {array.shape}".encode(), crc)
        crc = zlib.crc32(array.tobytes(), crc)
    return f"{crc:08x}"


def _seal(arrays: Arrays, digest: str) -> bytes:
    sealed: bytes = save(arrays, metadata={"key": digest, "crc32": _checksum(arrays)})
    return sealed


def _unseal(data: bytes, digest: str) -> Arrays:
    arrays: Arrays = load(data)
    # The safetensors layout: 8 bytes of length (little-endian), a JSON header, the data. `load` has checked it.
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    if metadata["crc32"] != _checksum(arrays):
        raise ValueError("its checksum does not match")
    if metadata["key"] != digest:
        raise ValueError("it belongs to another key")
    return arrays
