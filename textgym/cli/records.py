"""JSON Lines in and out: rows are checked one by one, errors name the line, files are written whole or not at all."""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeVar

import typer

from textgym.cli.terminal import to_json
from textgym.errors import CorpusError, did_you_mean

T = TypeVar("T")

STDIN = Path("-")


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
    """

    id: Any
    prompt: str
    completion: str
    references: tuple[str, ...]
    line: int
    index: int = 0


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not blank, one at a time.

    Args:
        path: a UTF-8 file; `-` is stdin.

    Raises:
        CorpusError: the file cannot be read, is not UTF-8, or holds no such line.
    """
    found = False
    for number, raw in enumerate(_raw_lines(path), start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise CorpusError(f"{_name(path)}, line {number}: it is not UTF-8 text ({error.reason})") from error
        if line.strip():
            found = True
            yield number, line
    if not found:
        raise CorpusError(f"{_name(path)} is empty")


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbered JSON objects of a JSON Lines file.

    Raises:
        CorpusError: as `read_lines`, or a line is no JSON object; the message names file and line.
    """
    for number, line in read_lines(path):
        try:
            row = json.loads(line, parse_constant=_no_constant)
        except ValueError as error:
            raise CorpusError(f"{_name(path)}, line {number}: it is no JSON ({error})") from error
        if not isinstance(row, dict):
            raise CorpusError(f"{_name(path)}, line {number}: an object is expected, not {type(row).__name__}")
        yield number, row


def read_records(path: Path, *, lists: bool = False) -> Iterator[Record]:
    """The completions of a JSON Lines file.

    Args:
        path: rows of {"id"?, "prompt"?, "completion", "references"?}.
        lists: whether a row may have "completions", a list, in place of "completion".

    Raises:
        CorpusError: as `read_rows`, or a row lacks a key or holds something else under it.
    """
    for line, row in read_rows(path):
        where = f"{_name(path)}, line {line}"
        prompt = _text(row, "prompt", where) if row.get("prompt") is not None else ""
        references = _texts(row, "references", where) if row.get("references") is not None else ()
        several = lists and "completions" in row
        completions = _texts(row, "completions", where) if several else (_text(row, "completion", where),)
        for index, completion in enumerate(completions):
            yield Record(row.get("id", line), prompt, completion, references, line, index)


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` neighbours; the last one may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


@contextmanager
def json_writer(path: Path | None) -> Iterator["JsonWriter"]:
    """Writes JSON Lines to stdout, or to a file that appears when the block ends without an error and not before.

    Raises:
        CorpusError: the file cannot be written.
    """
    if path is None:
        yield JsonWriter(None)
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    if path.is_dir():
        raise CorpusError(f"{path} is a folder; give the file to write")
    try:
        file = partial.open("xb")
    except OSError as error:
        raise CorpusError(f"{path} cannot be written: {error.strerror}") from error
    try:
        with file:
            yield JsonWriter(file)
        partial.replace(path)
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


class JsonWriter:
    """Writes one JSON value a line.

    Args:
        file: where to; None is stdout.
    """

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file = file
        self.rows = 0

    def write(self, row: dict[str, Any]) -> None:
        """Writes a row."""
        self.rows += 1
        if self._file is None:
            typer.echo(to_json(row), nl=False)
        else:
            self._file.write(to_json(row))


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


def _name(path: Path) -> str:
    return "stdin" if path == STDIN else str(path)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _text(row: dict[str, Any], key: str, where: str) -> str:
    if key not in row:
        raise CorpusError(f"{where}: it has no {key!r}; its keys are {', '.join(map(repr, row)) or 'none'}")
    if not isinstance(row[key], str):
        raise CorpusError(f"{where}: {key!r} must be text, not {type(row[key]).__name__}")
    return str(row[key])


def _texts(row: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = row[key]
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise CorpusError(f"{where}: {key!r} must be a list of texts")
    return tuple(value)
