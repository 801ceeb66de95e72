"""JSON Lines out: files that appear whole or not at all, and files that an interrupted command can go on with."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

import typer

from textgym.cli.terminal import to_json
from textgym.errors import CorpusError

logger = logging.getLogger("textgym")


class JsonWriter:
    """Writes one JSON value a line.

    Args:
        file: where to; None is stdout.
        rows: how many rows it holds already.
        failed: how many of them say an error.

    Attributes:
        rows: how many rows it holds.
        failed: how many of them have the key "error".
        kept: how many rows it began with.
    """

    def __init__(self, file: IO[bytes] | None, rows: int = 0, failed: int = 0) -> None:
        self._file = file
        self.rows, self.failed, self.kept = rows, failed, rows

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes a row."""
        self.rows += 1
        self.failed += "error" in row
        if self._file is None:
            typer.echo(to_json(row), nl=False)
        else:
            self._file.write(to_json(row))

    def flush(self) -> None:
        """Hands what was written to the system, where it outlives this process."""
        if self._file is not None:
            self._file.flush()


@contextmanager
def json_writer(path: Path | None) -> Iterator[JsonWriter]:
    """Writes JSON Lines to stdout, or to a file that appears when the block ends without an error and not before.

    Raises:
        CorpusError: the file cannot be written.
    """
    if path is None:
        yield JsonWriter(None)
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    file = _opened(path, partial, "xb")
    try:
        with file:
            yield JsonWriter(file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def resumable_writer(path: Path, of: Mapping[str, str], *, block: int, resume: bool) -> Iterator[JsonWriter]:
    """Writes JSON Lines to PATH.partial, which becomes PATH when the block ends without an error.

    Otherwise, be it an error, Ctrl-C or a kill, it stays, and PATH.partial.json says what it is part of. A writer that
    resumes keeps its whole blocks of rows, so that rows which are computed together stay together.

    Args:
        path: the file to write.
        of: what the rows depend on, by name; whoever resumes must say the same.
        block: how many rows are computed together.
        resume: whether to go on with what is there; begins anew where nothing is.

    Raises:
        CorpusError: the file cannot be written; a partial one is there and `resume` is false, or it is part of
            something else.
    """
    partial, header = path.with_name(f"{path.name}.partial"), path.with_name(f"{path.name}.partial.json")
    if resume and partial.exists():
        _check_same(partial, header, of)
        rows, size, failed = _whole_blocks(partial, block)
        os.truncate(partial, size)
        file = _opened(path, partial, "ab")
    else:
        rows, failed = 0, 0
        file = _opened(path, partial, "xb")
        header.write_bytes(to_json(dict(of)))
    writer = JsonWriter(file, rows, failed)
    try:
        with file:
            yield writer
        partial.replace(path)
        header.unlink(missing_ok=True)
    except BaseException:
        if writer.rows < block:  # nothing that could be kept
            partial.unlink(missing_ok=True)
            header.unlink(missing_ok=True)
        else:
            logger.info("%s rows are in %s: --resume goes on from there", f"{writer.rows:,}", partial)
        raise


def content_hash(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        CorpusError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(2**20):
                digest.update(chunk)
        return digest.hexdigest()
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}") from error


def _opened(path: Path, partial: Path, mode: Literal["xb", "ab"]) -> IO[bytes]:
    if path.is_dir():
        raise CorpusError(f"{path} is a folder; give the file to write")
    try:
        return partial.open(mode)
    except FileExistsError:
        raise CorpusError(
            f"{partial} is there: an interrupted command left it, or one is still at work. Go on from it with "
            "--resume, or remove it to begin anew"
        ) from None
    except OSError as error:
        raise CorpusError(f"{path} cannot be written: {error.strerror}") from error


def _check_same(partial: Path, header: Path, of: Mapping[str, str]) -> None:
    found: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        found = json.loads(header.read_bytes())
    for name, value in of.items():
        if found.get(name) != value:
            raise CorpusError(
                f"{partial} cannot be resumed: its {name} was {found.get(name)!r} and is {value!r}. Run the command "
                "that left it, or remove it to begin anew"
            )


def _whole_blocks(partial: Path, block: int) -> tuple[int, int, int]:
    """Rows, bytes and rows with an error of the blocks that were written to their end."""
    rows = size = failed = 0
    whole = (0, 0, 0)
    with partial.open("rb") as file:
        for raw in file:
            try:
                row = json.loads(raw)
            except ValueError:
                break
            if not raw.endswith(b"\n"):
                break
            rows, size, failed = rows + 1, size + len(raw), failed + ("error" in row)
            if rows % block == 0:
                whole = (rows, size, failed)
    return whole
