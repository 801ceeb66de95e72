"""`rows.jsonl`: what the jobs of a benchmark found out, a line a job, added to and never rewritten.

A writer that is killed leaves at most one torn line, the last one: readers pass it over, the next writer cuts it off.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from textgym.errors import TaskError

Row = dict[str, Any]
"""A line: "format", "key", "job", "versions", and either what was found out or "failure", a message."""

ROWS_FILE = "rows.jsonl"
FORMAT = 1

AFTER = "after"
"""Of a job, the keys of those that must be finished first: it says when the job runs, not what comes out."""

_LOCK_FILE = f".{ROWS_FILE}.lock"
_HEAD = re.compile(rb'\{"format": 1, "key": "([0-9a-f]{16})", ')
_BLOCK = 2**20


def job_key(job: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    """What a job is found again by: a hash of it and of the versions that its result depends on.

    Args:
        job: JSON-able values by name; "after" is left away.
        versions: of packages, by name.

    Returns:
        16 hexadecimal digits, of SHA-256.

    Raises:
        TaskError: a value that JSON does not know.
    """
    told = {"job": {name: value for name, value in job.items() if name != AFTER}, "versions": dict(versions)}
    return hashlib.sha256(to_json(told, "a job", sort_keys=True)).hexdigest()[:16]


def read_rows(folder: Path) -> Iterator[Row]:
    """The rows of a results folder, one a job: its latest finished one, else its latest failure.

    No more than one row is in memory at a time.

    Args:
        folder: a results folder.

    Raises:
        TaskError: it holds no rows, or a line that is none; the message names file and line. Only a last line without
            a line break, which a killed writer left, is passed over.
    """
    path = _existing(folder)
    with path.open("rb") as file:
        for place, number in _latest(path).values():
            file.seek(place)
            yield _parsed(file.readline(), path, number)


def merge(folders: Sequence[Path], into: Path) -> int:
    """Brings the rows of several results folders together in one, which may have rows of its own.

    A job that several have finished keeps the row that stands first; a finished row beats a failure. Nothing is written
    unless all can be read.

    Args:
        folders: results folders, in order of preference.
        into: the folder that takes the rows; made where it is missing.

    Returns:
        How many rows were added.

    Raises:
        TaskError: as `read_rows`, a row of another format included, and as `Results.append`.
    """
    paths = [_existing(folder) for folder in folders]
    for path in paths:
        for _ in _lines(path):
            pass
    results, added, finished = Results(into), 0, dict[str, bool]()
    if results.path.exists():
        for key, ended, _, _ in _lines(results.path):
            finished[key] = ended or finished.get(key, False)
    for folder in folders:
        for row in read_rows(folder):
            key, ended = row["key"], "failure" not in row
            if key not in finished or (ended and not finished[key]):
                results.append(row)
                finished[key] = ended
                added += 1
    return added


class Results:
    """A results folder that jobs add their rows to; several processes may do so at once.

    Args:
        folder: where `rows.jsonl` lies, or will lie; made on the first append.

    Attributes:
        path: of the rows.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / ROWS_FILE

    @property
    def done(self) -> set[str]:
        """Keys of the jobs that were finished, read from the file at each call.

        Raises:
            TaskError: a line that is no row; the message names file and line.
        """
        if not self.path.exists():
            return set()
        return {key for key, finished, _, _ in _lines(self.path) if finished}

    def append(self, row: Row) -> None:
        """Adds a row: when this returns, it is on disk; when it raises, the file is as it was.

        Args:
            row: with "key", "job" and "versions"; what is not known is None, since JSON has no NaN.

        Raises:
            TaskError: a row without those, or with what JSON does not know; or a full disk or a read-only folder, with
                the number of the row and the path.
        """
        line = _line(row)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / _LOCK_FILE):
                _add(self.path, line)
        except OSError as error:
            number = _line_breaks(self.path) + 1
            raise TaskError(
                f"row {number} cannot be written to {self.path}: {error.strerror}. The rows before it are whole; make "
                "room or give another folder, and the same command goes on from there"
            ) from error


def to_json(value: Any, what: str, sort_keys: bool = False) -> bytes:
    """UTF-8 JSON; escaped only where a text is no Unicode text (lone surrogates).

    Args:
        value: what is written.
        what: what an error calls it.
        sort_keys: whether equal values are to give equal bytes.

    Raises:
        TaskError: it holds what JSON does not know, NaN and infinity included.
    """

    def dumped(ensure_ascii: bool) -> bytes:
        return json.dumps(value, ensure_ascii=ensure_ascii, allow_nan=False, sort_keys=sort_keys).encode()

    try:
        try:
            return dumped(ensure_ascii=False)
        except UnicodeEncodeError:
            return dumped(ensure_ascii=True)
    except (TypeError, ValueError) as error:
        raise TaskError(
            f"{what} is not JSON ({error}): texts, finite numbers, true, false, lists and objects; None is not known"
        ) from error


def _line(row: Row) -> bytes:
    """A row as a line, format and key first: `done` looks no further."""
    missing = [name for name in ("key", "job", "versions") if name not in row]
    if missing or row.get("format", FORMAT) != FORMAT:
        raise TaskError(f"a row of format {FORMAT} has a key, a job and versions; this one has {', '.join(row)}")
    return to_json({"format": FORMAT, "key": row["key"]} | row, f"the row of job {row['key']}") + b"\n"


def _add(path: Path, line: bytes) -> None:
    """Under the lock: mends the end of the file, then adds the line to it, or leaves it as it was."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
    try:
        torn = _torn(file)
        if torn and not _is_row(torn):
            os.ftruncate(file, os.fstat(file).st_size - len(torn))
            torn = b""
        size = os.fstat(file).st_size
        try:
            _write_all(file, b"\n" + line if torn else line)
            os.fsync(file)
        except OSError:
            os.ftruncate(file, size)
            raise
    finally:
        os.close(file)


def _write_all(file: int, data: bytes) -> None:
    """One write, unless the disk takes a part only: the next one then says what is wrong."""
    while data:
        data = data[os.write(file, data) :]


def _torn(file: int) -> bytes:
    """What stands behind the last line break."""
    place, tail = os.fstat(file).st_size, b""
    while place and b"\n" not in tail:
        begin = max(place - _BLOCK, 0)
        os.lseek(file, begin, os.SEEK_SET)
        tail, place = os.read(file, place - begin) + tail, begin
    return tail[tail.rfind(b"\n") + 1 :]


def _line_breaks(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))
    except OSError:
        return 0


def _existing(folder: Path) -> Path:
    path = Path(folder) / ROWS_FILE
    if not path.is_file():
        raise TaskError(f"{folder} holds no {ROWS_FILE}: give a folder that the benchmark has written results to")
    return path


def _latest(path: Path) -> dict[str, tuple[int, int]]:
    """By key, place and number of the line that counts, in order of those lines."""
    found: dict[str, tuple[int, int]] = {}
    done: set[str] = set()
    for key, finished, place, number in _lines(path):
        if finished or key not in done:
            found.pop(key, None)
            found[key] = place, number
            done |= {key} if finished else set()
    return found


def _lines(path: Path) -> Iterator[tuple[str, bool, int, int]]:
    """Of each row its key, whether its job was finished, its place in bytes and the number of its line."""
    place = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip() and (line.endswith(b"\n") or _is_row(line)):
                    yield *_identity(line, path, number), place, number
                place += len(line)
    except OSError as error:
        raise TaskError(f"{path} cannot be read: {error.strerror}") from error


def _identity(line: bytes, path: Path, number: int) -> tuple[str, bool]:
    """Key, and whether the job was finished; without parsing the values where the line is as `append` writes it."""
    head = _HEAD.match(line)
    if head and line.endswith(b"}\n") and b'"failure"' not in line:
        return head[1].decode(), True
    row = _parsed(line, path, number)
    return row["key"], "failure" not in row


def _parsed(line: bytes, path: Path, number: int) -> Row:
    try:
        row = json.loads(line, parse_constant=_no_constant)
        if not isinstance(row, dict) or not isinstance(row.get("key"), str) or not isinstance(row.get("job"), dict):
            raise ValueError("an object with a key and a job is expected")
    except (ValueError, RecursionError) as error:
        raise TaskError(
            f"{path}, line {number}, is no row of results ({error}): {line[:60]!r}. Bring it back or take it out"
        ) from error
    if row.get("format") != FORMAT:
        raise TaskError(
            f"{path}, line {number}, is of format {row.get('format')!r}; this version of textgym reads format {FORMAT}"
        )
    return row


def _is_row(line: bytes) -> bool:
    """Whether a line that lacks its line break is whole all the same."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name}: JSON has no such number")
