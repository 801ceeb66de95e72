"""Tables of records (csv, tsv, json, jsonl) and how their text field becomes documents."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from textgym.errors import CorpusError, did_you_mean
from textgym.text.sentences import cjk_share

Record = dict[str, object]

DOCUMENT_COLUMNS = ("document_id", "doc_id")
"""Columns that say which rows belong to one document."""

_SAMPLE = 200  # records that are looked at to tell a text field from names and numbers


def read_csv(path: Path, text: str) -> list[Record]:
    """The rows of a comma- or tab-separated file (by its ending), by the names in its first line.

    Raises:
        CorpusError: the file cannot be parsed; names the line.
    """
    limit = csv.field_size_limit(max(len(text), 1))  # the library refuses documents over 128 KiB by default
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    try:
        return [{key: value for key, value in row.items() if isinstance(key, str)} for row in reader]
    except csv.Error as error:
        raise CorpusError(f"{path}, line {reader.line_num}: {error}. Check the quotes of that line") from error
    finally:
        csv.field_size_limit(limit)


def read_json(path: Path, text: str) -> list[Record]:
    """The objects of a JSON list, or of ``{"data": [...]}``; a list of strings is a list of ``{"text": ...}``.

    Raises:
        CorpusError: no JSON, or no list of objects.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise CorpusError(
            f"{path}, line {error.lineno}, column {error.colno}: {error.msg}. It should hold one JSON list of objects; "
            "if it holds one object a line, name it .jsonl"
        ) from error
    items = value.get("data") if isinstance(value, dict) else value
    if not isinstance(items, list):
        raise CorpusError(
            f'{path} should hold a list of objects, or {{"data": [...]}}; it holds {type(items).__name__}'
        )
    return [_record(item, f"{path}, item {number}") for number, item in enumerate(items, start=1)]


def read_jsonl(path: Path, text: str) -> list[Record]:
    """The objects of a JSON Lines file; blank lines are passed over.

    Raises:
        CorpusError: a line is no JSON object; names it.
    """
    records = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                records.append(_record(json.loads(line), f"{path}, line {number}"))
            except json.JSONDecodeError as error:
                raise CorpusError(
                    f"{path}, line {number}: {error.msg} at column {error.colno}. Each line holds one JSON object"
                ) from error
    return records


READERS: Final[dict[str, Callable[[Path, str], list[Record]]]] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".json": read_json,
    ".jsonl": read_jsonl,
}
"""The reader of each kind of file: (path, text) -> records."""


def choose_field(path: Path, records: Sequence[Record], field: str | None) -> str:
    """The field that holds the text: the one that was named, or the only one that looks like text.

    Raises:
        CorpusError: the named field is missing, or it is not clear which field is meant.
    """
    names = list(dict.fromkeys(name for record in records for name in record))
    if not records:
        raise CorpusError(f"{path} holds no rows: a corpus needs text")
    if field is not None:
        if field not in names:
            raise CorpusError(
                f"{path} has no field {field!r}. {did_you_mean(field, names)} Its fields: {', '.join(names)}"
            )
        return field
    likely = [name for name in names if _is_text_like([record.get(name) for record in records[:_SAMPLE]])]
    if len(likely) == 1:
        return likely[0]
    which = f"{len(likely)} fields look like text" if likely else "no field looks like text"
    raise CorpusError(f"{path}: {which}; say which with --field (field=...): {', '.join(likely or names)}")


def join_documents(path: Path, records: Sequence[Record], field: str) -> list[str]:
    """The texts of a field as documents: rows in sequence with the same document id are joined, others stand alone.

    Raises:
        CorpusError: the field holds something else than text.
    """
    texts = [_as_text(record.get(field), f"{path}, record {number}") for number, record in enumerate(records, start=1)]
    column = next((name for name in DOCUMENT_COLUMNS if records and name in records[0] and name != field), None)
    if column is None:
        return texts
    glue = "" if cjk_share("".join(texts[:_SAMPLE])) > 0.5 else " "
    documents: list[list[str]] = []
    last: object = object()
    for record, text in zip(records, texts, strict=True):
        if record.get(column) != last:
            documents.append([])
            last = record.get(column)
        if text.strip():
            documents[-1].append(text.strip())
    return [glue.join(parts) for parts in documents]


def _record(item: object, where: str) -> Record:
    if isinstance(item, str):
        return {"text": item}
    if not isinstance(item, dict):
        raise CorpusError(f"{where}: expected an object with named fields, found {type(item).__name__}")
    return item


def _as_text(value: object, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return "\n".join(value)
    raise CorpusError(f"{where}: a text field holds a string or a list of strings, found {type(value).__name__}")


def _is_text_like(values: Sequence[object]) -> bool:
    """Whether most of the values that are there hold several words, or Chinese or Japanese."""
    texts = [value for value in values if value not in (None, "", [])]
    wordy = 0
    for value in texts:
        text = value if isinstance(value, str) else " ".join(map(str, value)) if isinstance(value, list) else ""
        wordy += len(text.split()) > 1 or cjk_share(text) > 0.5
    return 2 * wordy > len(texts)
