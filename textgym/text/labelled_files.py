"""Texts with a label, and pairs of completions of which one is preferred, from files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textgym.errors import CorpusError, did_you_mean
from textgym.text.corpora import read_text
from textgym.text.messages import is_conversation, text_of
from textgym.text.records import READERS, Record


@dataclass(frozen=True)
class Labelled:
    """A text and the class it belongs to."""

    text: str
    label: str


@dataclass(frozen=True)
class Preference:
    """Two completions of a prompt, of which one is preferred."""

    prompt: str
    chosen: str
    rejected: str


def read_labelled(path: str | Path, text: str = "text", label: str = "label") -> list[Labelled]:
    """The rows of a table with a column of texts and one of labels: JSON Lines, JSON, CSV or TSV.

    Rows with a blank text are left out. A label that is a number is taken as written: 1 is ``1``.

    Raises:
        CorpusError: no such file or column, or a row without a label; names the row.
    """
    rows = []
    for number, record in _records(Path(path), (text, label)):
        value = record[label]
        if value is None or isinstance(value, list | dict | float) or not str(value).strip():
            raise CorpusError(
                f"{path}, row {number}: the label in {label!r} is a name or a whole number, not {value!r}"
            )
        content = _text(record[text], f"{path}, row {number}: {text!r}")
        if content.strip():
            rows.append(Labelled(content, str(value).strip()))
    return _some(path, rows)


def read_lines(path: str | Path, label: str) -> list[Labelled]:
    """The lines of a text file, all of one class; blank ones are left out.

    Raises:
        CorpusError: no such file, or no text in it.
    """
    return _some(path, [Labelled(line.strip(), label) for line in read_text(Path(path)).split("\n") if line.strip()])


def read_preferences(path: str | Path) -> list[Preference]:
    """The rows of a table with ``chosen`` and ``rejected`` and, if there is one, ``prompt``: TRL's format.

    Each is a text or a list of messages. Where there is no prompt, what both conversations begin with is the prompt.

    Raises:
        CorpusError: no such file or column, or a row that is no pair; names the row.
    """
    rows = [_pair(record, f"{path}, row {number}") for number, record in _records(Path(path), ("chosen", "rejected"))]
    return _some(path, [row for row in rows if row.chosen != row.rejected])


def _records(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, Record]]:
    """The records, from 1, each with all of the columns."""
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise CorpusError(f"{path}: a table ends in {', '.join(READERS)}; lines of one label are given as LABEL=FILE")
    for number, record in enumerate(READERS[suffix](path, read_text(path)), start=1):
        for column in columns:
            if column not in record:
                raise CorpusError(
                    f"{path}, row {number} has no {column!r}. {did_you_mean(column, record)} Its columns: "
                    f"{', '.join(record) or 'none'}"
                )
        yield number, record


def _pair(record: Record, where: str) -> Preference:
    chosen, rejected, prompt = record["chosen"], record["rejected"], record.get("prompt")
    if prompt is None and is_conversation(chosen) and is_conversation(rejected):
        chosen, rejected, prompt = _parted(list(_messages(chosen)), list(_messages(rejected)))
    parts = {"prompt": "" if prompt is None else prompt, "chosen": chosen, "rejected": rejected}
    return Preference(**{name: _text(value, f"{where}: {name!r}") for name, value in parts.items()})


def _messages(value: Any) -> Sequence[Any]:
    assert isinstance(value, list | tuple)
    return value


def _parted(chosen: list[Any], rejected: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """What is left of two conversations behind what they share, and what they share."""
    same = 0
    while same < min(len(chosen), len(rejected)) and chosen[same] == rejected[same]:
        same += 1
    return chosen[same:], rejected[same:], chosen[:same]


def _text(value: object, where: str) -> str:
    try:
        return text_of(value)
    except TypeError as error:
        raise CorpusError(f"{where}: {error}") from error


def _some(path: str | Path, rows: list[Any]) -> list[Any]:
    if not rows:
        raise CorpusError(f"{path} holds no rows to learn from: it is empty, or all of them are blank or alike")
    return rows
