"""Corpora: documents of text from a file, a folder, or the standard library's docstrings."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from textgym.errors import CorpusError, UnknownNameError
from textgym.text.docstrings import library_inventory, read_docstrings
from textgym.text.records import READERS, choose_field, join_documents
from textgym.text.sentences import split_units

BUILT_IN = ("docstrings",)
"""Corpora that are opened by name."""

FORMATS = (".txt", *READERS)
"""File endings that are read."""

_RULES = "corpus 1"  # goes into every fingerprint: raise it when the same bytes give other documents


@dataclass(frozen=True)
class Corpus:
    """Documents of text.

    Attributes:
        name: what a person calls it, e.g. "docstrings" or "input.txt".
        documents: texts that have nothing to do with each other; none is blank.
    """

    name: str
    documents: Sequence[str]

    @cached_property
    def signature(self) -> str:
        """Name and content hash of the documents, e.g. ``docstrings:1f0c…``."""
        digest = hashlib.sha256()
        for document in self.documents:
            data = document.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
        return f"{self.name}:{digest.hexdigest()[:16]}"


@dataclass(frozen=True)
class CorpusSource:
    """Where a corpus comes from; nothing is parsed until `load`.

    Attributes:
        name: what a person calls it.
        files: the files it is made of; none for a built-in corpus.
        field: the column or key that holds the text, None to find it.
    """

    name: str
    files: tuple[Path, ...] = ()
    field: str | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever the documents may: a hash of the bytes and the field, or of the Python installation."""
        digest = hashlib.sha256(f"{_RULES}\n{self.name}\n{self.field}\n".encode())
        if not self.files:
            digest.update(library_inventory().encode())
        for path in self.files:
            data = read_file(path)
            digest.update(f"{path.name}\n{len(data)}\n".encode() + data)
        return digest.hexdigest()[:16]

    def load(self) -> Corpus:
        """Reads and parses the corpus.

        Raises:
            CorpusError: a file is empty, unreadable, not UTF-8 or ill-formed, or the field is missing or ambiguous.
        """
        if not self.files:
            documents = read_docstrings()
        elif len(self.files) == 1:
            documents = _documents(self.files[0], self.field)
        else:
            documents = [text for path in self.files for text in self._share(path)]
        documents = [document for document in documents if document and not document.isspace()]
        if not documents:
            where = self.files[0] if len(self.files) == 1 else f"every file of {self.name}"
            raise CorpusError(f"{where} is empty or blank: a corpus needs text")
        return Corpus(self.name, tuple(documents))

    def _share(self, path: Path) -> list[str]:
        """What one of several files gives: plain text is one document, records are one each."""
        return [read_text(path).strip()] if path.suffix.lower() == ".txt" else _documents(path, self.field)


def open_corpus(name_or_path: str | Path, field: str | None = None) -> CorpusSource:
    """Names a corpus without reading it.

    Args:
        name_or_path: "docstrings"; or a .txt, .csv, .tsv, .json or .jsonl file; or a folder, or a pattern such as
            "poems/*.json", for all such files of one kind. A .txt file's documents are blocks between blank lines
            (runs of about 20 lines or sentences where there is one block only); of several .txt files each is one.
        field: the column (csv, tsv) or key (json, jsonl) that holds the text; may be left out where only one is
            text-like. Rows in sequence with the same `document_id` or `doc_id` form one document; without such a
            column each row is one.

    Raises:
        UnknownNameError: neither a built-in corpus nor a path.
        CorpusError: no such file, a format that is not read, a folder without such files or with several kinds, a
            field that does not apply.
    """
    name, path = str(name_or_path), Path(name_or_path).expanduser()
    if name in BUILT_IN:
        if field is not None:
            raise CorpusError(f"the corpus {name!r} has no fields; leave out field={field!r}")
        return CorpusSource(name)
    if path.is_dir() or any(mark in path.name for mark in "*?["):
        return CorpusSource(path.name if path.name else path.resolve().name, _several(path, field), field)
    if not path.exists():
        if path.suffix or len(path.parts) > 1:
            raise CorpusError(f"there is no file {path}. Built in: {', '.join(BUILT_IN)}")
        raise UnknownNameError("corpus", name, BUILT_IN)
    if path.suffix.lower() not in FORMATS:
        raise CorpusError(
            f"cannot read {path}: a corpus is a folder or one of {', '.join(FORMATS)}; rename or convert it"
        )
    if path.suffix.lower() == ".txt":
        _check_no_field(path, field)
    return CorpusSource(path.name, (path,), field)


def _several(path: Path, field: str | None) -> tuple[Path, ...]:
    """The files of a folder or pattern that can be read; they must be of one kind."""
    found = path.glob("*") if path.is_dir() else path.parent.glob(path.name)
    files = tuple(sorted(file for file in found if file.suffix.lower() in FORMATS and file.is_file()))
    kinds = sorted({file.suffix.lower() for file in files})
    if not files:
        raise CorpusError(f"{path} holds no file that can be read ({', '.join(FORMATS)})")
    if len(kinds) > 1:
        raise CorpusError(f"{path} holds {' and '.join(kinds)} files: name one kind, e.g. {path / ('*' + kinds[0])}")
    if kinds == [".txt"]:
        _check_no_field(path, field)
    return files


def _check_no_field(path: Path, field: str | None) -> None:
    if field is not None:
        raise CorpusError(f"{path} is plain text and has no fields; leave out field={field!r}")


def _documents(path: Path, field: str | None) -> list[str]:
    text = read_text(path)
    if not text.strip():
        raise CorpusError(f"{path} is empty or blank: a corpus needs text")
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return _blocks(text)
    records = READERS[suffix](path, text)
    return join_documents(path, records, choose_field(path, records, field))


def _blocks(text: str) -> list[str]:
    """Blocks between blank lines; of a single block, runs of 20 lines or sentences, at least two where it has two."""
    blocks = [block.strip("\n") for block in re.split(r"\n(?:[^\S\n]*\n)+", text) if block.strip()]
    if len(blocks) > 1:
        return blocks
    units = blocks[0].splitlines(keepends=True)
    if len(units) < 20:
        units = split_units(blocks[0])
    size = min(20, -(-len(units) // 2))
    return ["".join(units[start : start + size]).strip("\n") for start in range(0, len(units), size)]


def read_file(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        CorpusError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorpusError(f"cannot read {path}: {error.strerror}. Give a file that exists and may be read") from error


def read_text(path: Path) -> str:
    """The file as text, with one kind of newline and without a byte-order mark.

    Raises:
        CorpusError: it cannot be read, or is not UTF-8; names the line.
    """
    data = read_file(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{path}, line {line}: byte 0x{data[error.start]:02X} is no UTF-8. Save the file as UTF-8, "
            f"e.g. iconv -f GB18030 -t UTF-8 {path.name} > utf8{path.suffix}"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
