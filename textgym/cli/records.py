"""JSON Lines in: read one by one, so that a file may be larger than memory; what is wrong is said with its line."""

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from textgym.errors import CorpusError, did_you_mean

T = TypeVar("T")

STDIN = Path("-")


RECORD_KEYS = ("id", "prompt", "completion", "completions", "references")
"""Keys of a row with a meaning of their own; every other one is metadata, and so is what stands under "metadata"."""


@dataclass(frozen=True)
class Record:
    """One completion that is to be scored.

    Attributes:
        id: the row's own, else the number of its line.
        prompt: empty if the row has none.
        completion: the text.
        references: what it may resemble.
        line: where it stands, counted from 1.
        index: its place in the row's `completions`; 0 for a row with a single one.
        metadata: the row's other keys.
    """

    id: Any
    prompt: str
    completion: str
    references: tuple[str, ...]
    line: int
    index: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BadLine:
    """A line that holds no record.

    Attributes:
        id: the row's own if it could be read, else the number of its line.
        line: where it stands, counted from 1.
        complaint: what is wrong with it.
    """

    id: Any
    line: int
    complaint: str


class InputLines:
    """The lines of a file as bytes, numbered from 1, one at a time.

    Args:
        path: a file; `-` is stdin.

    Attributes:
        bytes_read: how far the file was read.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.bytes_read = path, 0

    @property
    def name(self) -> str:
        """What to call the file in messages."""
        return "stdin" if self.path == STDIN else str(self.path)

    @property
    def size(self) -> int | None:
        """Bytes of the file; None of stdin and of whatever else has no size."""
        return self.path.stat().st_size or None if self.path != STDIN and self.path.is_file() else None

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Raises CorpusError where the file cannot be read."""
        for number, raw in enumerate(_raw_lines(self.path), start=1):
            self.bytes_read += len(raw)
            yield number, raw


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not blank, one at a time.

    Args:
        path: a UTF-8 file; `-` is stdin.

    Raises:
        CorpusError: the file cannot be read, is not UTF-8, or holds no such line.
    """
    lines, found = InputLines(path), False
    for number, raw in lines:
        with _located(lines, number):
            line = _decoded(number, raw)
        if line.strip():
            found = True
            yield number, line
    if not found:
        raise CorpusError(f"{lines.name} is empty")


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbered JSON objects of a JSON Lines file.

    Raises:
        CorpusError: as `read_lines`, or a line is no JSON object; the message names file and line.
    """
    lines = InputLines(path)
    for number, line in read_lines(path):
        with _located(lines, number):
            row = _object(line)
        yield number, row


def read_records(lines: InputLines, *, lists: bool = False) -> Iterator[Record | BadLine]:
    """The completions of a JSON Lines file; a line that cannot be read is one of what comes, in its place.

    Args:
        lines: rows of {"id"?, "prompt"?, "completion", "references"?, metadata...}.
        lists: whether a row may have "completions", a list, in place of "completion".

    Raises:
        CorpusError: the file cannot be read, or holds no line.
    """
    found = False
    for number, raw in lines:
        own = number
        try:
            line = _decoded(number, raw)
            if not line.strip():
                continue
            found = True
            row = _object(line)
            own = row.get("id", number)
            records = _records(row, own, number, lists)
        except CorpusError as error:
            found = True
            yield BadLine(own, number, str(error))
        else:
            yield from records
    if not found:
        raise CorpusError(f"{lines.name} is empty")


def _decoded(number: int, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise CorpusError(f"it is not UTF-8 text ({error.reason})") from error


def _object(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line, parse_constant=_no_constant, parse_float=_float)
    except ValueError as error:
        raise CorpusError(f"it is no JSON ({error})") from error
    except RecursionError:
        raise CorpusError("its JSON is nested too deeply") from None
    if not isinstance(row, dict):
        raise CorpusError(f"an object is expected, not {type(row).__name__}")
    return row


def _records(row: dict[str, Any], own: Any, number: int, lists: bool) -> list[Record]:
    prompt = _text(row, "prompt") if row.get("prompt") is not None else ""
    references = _texts(row, "references") if row.get("references") is not None else ()
    completions = _texts(row, "completions") if lists and "completions" in row else (_text(row, "completion"),)
    metadata = {key: value for key, value in row.items() if key not in RECORD_KEYS}
    if isinstance(metadata.get("metadata"), dict):
        metadata |= metadata.pop("metadata")
    return [
        Record(own, prompt, completion, references, number, index, metadata)
        for index, completion in enumerate(completions)
    ]


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` neighbours; the last one may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _raw_lines(path: Path) -> Iterator[bytes]:
    if path == STDIN:
        yield from sys.stdin.buffer
        return
    try:
        with path.open("rb") as file:
            yield from file
    except FileNotFoundError:
        near = [other.name for other in path.parent.iterdir() if other.is_file()] if path.parent.is_dir() else []
        hint = f" {did_you_mean(path.name, near)}" if near else ""
        raise CorpusError(f"no such file: {path}.{hint}") from None
    except IsADirectoryError:
        raise CorpusError(f"{path} is a folder; give a file") from None
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}") from error


@contextmanager
def _located(lines: InputLines, number: int) -> Iterator[None]:
    try:
        yield
    except CorpusError as error:
        raise CorpusError(f"{lines.name}, line {number}: {error}") from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large a number")
    return value


def _text(row: dict[str, Any], key: str) -> str:
    if key not in row:
        raise CorpusError(f"it has no {key!r}; its keys are {', '.join(map(repr, row)) or 'none'}")
    if not isinstance(row[key], str):
        raise CorpusError(f"{key!r} must be text, not {type(row[key]).__name__}")
    return str(row[key])


def _texts(row: dict[str, Any], key: str) -> tuple[str, ...]:
    value = row[key]
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise CorpusError(f"{key!r} must be a list of texts")
    return tuple(value)
