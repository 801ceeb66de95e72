"""A cache around an expensive expression: what was scored once is not scored again, in this process or on this disk.

The key of a row is everything that its score may depend on: the signature of the bound expression, the texts and token
ids of prompt and completion, references and metadata. Scores are kept to the last bit. On disk they are JSON in the
SQLite database of `diskcache`, which several processes may share; a database that cannot be used is a warning, never a
wrong score.
"""

import hashlib
import json
import logging
import math
import sqlite3
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textgym.errors import MissingExtraError, ScorerError, ScoringFailure
from textgym.scorers.around import Around
from textgym.scorers.base import Scorer, register
from textgym.scorers.bound import BoundScorer
from textgym.scorers.plain import OpenVocabulary
from textgym.types import Scores, TextBatch

logger = logging.getLogger("textgym")

FORMAT = 1
"""Of what is kept on disk; part of every key."""

Row = tuple[float, bool, tuple[float, ...] | None]
"""Value, whether it is applicable, and what each token contributed."""


@register("cache")
@dataclass(frozen=True)
class Cache(Around):
    """The values of an expression, each row scored once; rows that are new to it are scored as one smaller batch.

    For scorers that cost far more than reading their texts does, about 0.1 ms a row: a judge, a large model. Within a
    batch equal rows are scored once, too. A row whose metadata are no JSON is scored each time. A scorer of your own
    that changes keeps its place in a folder only until you raise its `version`.

    Args:
        of: the expression, of single texts.
        path: a folder that keeps the scores on disk as well, for other runs and processes; none for memory alone.
        size: how many rows memory holds; those that were not asked for longest make place.
    """

    path: str | None = None
    size: int = 100_000
    formula = "x"
    extra = "cache"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 1:
            raise ScorerError(f"cache(size={self.size}): memory holds at least 1 row")
        if self.of.set_level:
            raise ScorerError(
                f"{self}: {self.of} is a measure of a set of texts, and a cache keeps those of single ones"
            )
        if self.path is not None:
            self.of.to_spec()  # what has no text form may change without a sign

    def around(self, bound: BoundScorer) -> Callable[[TextBatch], Scores]:
        """The cache, empty but for what its folder holds.

        Raises:
            ScorerError: a path is given, and what a scorer reads could change without a sign.
            MissingExtraError: a path is given and diskcache is not installed.
        """
        if self.path is not None and bound.context is None:
            for leaf in bound.names:
                if type(leaf).fingerprint is not Scorer.fingerprint:
                    raise ScorerError(
                        f"{self}: what {leaf} reads is signed by a context, and there is none: bind to a task's, "
                        "or leave out the path"
                    )
        disk = None if self.path is None else _Disk(self.path)
        return _Cached(bound, self.size, disk).score


class _Cached:
    def __init__(self, bound: BoundScorer, size: int, disk: "_Disk | None") -> None:
        self._bound, self._disk, self._memory = bound, disk, _Memory(size)

    def score(self, batch: TextBatch) -> Scores:
        keys = [key or f"row {row}" for row, key in enumerate(_keys(self._bound.signature, batch))]
        rows = self._memory.read(keys)
        if self._disk is not None:
            rows |= self._disk.read([key for key in dict.fromkeys(keys) if key not in rows])
        first = {key: index for index, key in reversed(list(enumerate(keys))) if key not in rows}
        missing = sorted(first.values())
        if missing:
            rows |= self._fresh(batch.rows(missing), missing, keys)
        return _joined([rows[key] for key in keys], batch)

    def _fresh(self, batch: TextBatch, places: Sequence[int], keys: Sequence[str]) -> dict[str, Row]:
        try:
            fresh = dict(zip((keys[place] for place in places), _split(self._bound.score(batch), batch), strict=True))
        except ScoringFailure as failure:
            if failure.row is not None:
                failure.row = places[failure.row]
            raise
        lasting = {key: row for key, row in fresh.items() if not key.startswith("row ") and _finite(row)}
        self._memory.write(lasting)
        if self._disk is not None:
            self._disk.write(lasting)
        return fresh


def _keys(signature: str, batch: TextBatch) -> Iterator[str | None]:
    """A key for each row; None for one that cannot have any."""
    tokenizer = batch.tokenizer
    # An open vocabulary numbers its words anew for each batch: there the words themselves are the tokens.
    is_open = isinstance(tokenizer, OpenVocabulary)
    for index, prompt in enumerate(batch.prompt_texts):
        ids = [row[index].tolist() for row in (batch.prompts, batch.completions)]
        row = [
            FORMAT,
            signature,
            "open" if is_open else tokenizer.signature,
            prompt,
            batch.completion_texts[index],
            [[tokenizer.token(i) for i in row] for row in ids] if is_open else ids,
            list(batch.references[index]) if batch.references else None,
            dict(batch.metadata[index]) if batch.metadata else None,
        ]
        try:
            yield hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
        except (TypeError, ValueError, RecursionError):
            yield None


def _split(scores: Scores, batch: TextBatch) -> Iterator[Row]:
    for index, ids in enumerate(batch.completions):
        tokens = None if scores.tokens is None else tuple(scores.tokens[index, : len(ids)].tolist())
        yield float(scores.values[index]), bool(scores.valid[index]), tokens


def _joined(rows: Sequence[Row], batch: TextBatch) -> Scores:
    values, valid, tokens = zip(*rows, strict=True)
    whole = None
    if all(row is not None for row in tokens):
        whole = np.zeros((len(rows), max(map(len, batch.completions))))
        for out, row in zip(whole, tokens, strict=True):
            out[: len(row)] = row
    return Scores(np.array(values, dtype=np.float64), np.array(valid, dtype=bool), whole)


def _finite(row: Row) -> bool:
    return math.isfinite(row[0])


class _Memory:
    """The rows that were last asked for."""

    def __init__(self, size: int) -> None:
        self._size, self._rows, self._lock = size, OrderedDict[str, Row](), threading.Lock()

    def read(self, keys: Sequence[str]) -> dict[str, Row]:
        with self._lock:
            found = {key: self._rows[key] for key in keys if key in self._rows}
            for key in found:
                self._rows.move_to_end(key)
        return found

    def write(self, rows: Mapping[str, Row]) -> None:
        with self._lock:
            self._rows.update(rows)
            while len(self._rows) > self._size:
                self._rows.popitem(last=False)


class _Disk:
    """Rows in a folder; opened for a batch at a time, so that nothing stays open between two."""

    def __init__(self, path: str) -> None:
        try:
            import diskcache
        except ImportError as error:
            raise MissingExtraError("diskcache", "cache", "cache(x, path=...)") from error

        class JsonAlone(diskcache.JSONDisk):  # type: ignore[misc]
            """Values as JSON; one that says that it is pickled is refused, whoever put it there."""

            def fetch(self, mode: int, filename: Any, value: Any, read: bool) -> Any:
                if mode == diskcache.core.MODE_PICKLE:
                    raise ValueError("a pickled value")
                return super().fetch(mode, filename, value, read)

        self._path, self._complained = path, False
        self._open: Callable[[], Any] = lambda: diskcache.Cache(path, disk=JsonAlone)
        self._errors = (sqlite3.Error, OSError, diskcache.Timeout)

    def read(self, keys: Sequence[str]) -> dict[str, Row]:
        def rows(database: Any) -> dict[str, Row]:
            found = {key: _checked(database, key) for key in keys}
            return {key: row for key, row in found.items() if row is not None}

        return (self._use("read", rows) if keys else None) or {}

    def write(self, rows: Mapping[str, Row]) -> None:
        def keep(database: Any) -> None:
            with database.transact(retry=True):
                for key, row in rows.items():
                    database.set(key, row)

        self._use("write", keep)

    def _use(self, what: str, work: Callable[[Any], Any]) -> Any:
        """What `work` makes of the database; None where the database cannot be used."""
        try:
            with self._open() as database:
                return work(database)
        except self._errors as error:
            if not self._complained:
                logger.warning(
                    "cannot %s the cache %s (%s): scoring goes on without it. Give another path, or delete the folder",
                    what,
                    self._path,
                    error,
                )
            self._complained = True
            return None


def _checked(database: Any, key: str) -> Row | None:
    """What a database holds under a key, if that is a row."""
    try:
        match database.get(key):
            case [float(value), bool(valid), None]:
                return (value, valid, None)
            case [float(value), bool(valid), list(tokens)] if all(isinstance(token, float) for token in tokens):
                return (value, valid, tuple(tokens))
    except (ValueError, zlib.error, TypeError):
        pass
    return None
