"""Prompts from a file, with what a good answer may look like and whatever else is known of each.

A file is JSON Lines, a JSON list, or CSV (TSV). A record holds a prompt, none, one or several references, and anything
else, which is its metadata:

    {"prompt": "dog frisbee throw", "references": ["A dog catches the frisbee."], "concepts": ["dog", "frisbee"]}

Columns: `prompt`; `reference` (one text) or `references` (a list; in CSV a text or a JSON list); `split` ("train", or
"heldout", "test", "validation", "dev"), without which a tenth of the prompts is held out by the hash of their text.
Records with the same prompt and metadata are one prompt with all their references.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from textgym.errors import CorpusError, did_you_mean
from textgym.text.corpora import read_file, read_text
from textgym.text.prompts import HELDOUT_SHARE
from textgym.text.records import READERS, Record

_log = logging.getLogger("textgym")

PROMPT, REFERENCES, SPLIT = "prompt", ("references", "reference"), "split"

SPLIT_NAMES: Final = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("heldout", "held-out", "test", "testing", "validation", "valid", "val", "dev", "eval"), "heldout"),
}
"""What may stand in the column `split`, and which split it names."""

_RULES = "prompts 1"  # goes into every fingerprint: raise it when the same bytes give other prompts


@dataclass(frozen=True)
class PromptRecord:
    """A prompt and all that is known of it.

    Attributes:
        prompt: the text, not blank.
        references: distinct texts that a good completion may resemble, verbatim; may be none.
        metadata: the other columns.
        split: "train" or "heldout".
        number: of the first record of the file that has this prompt, from 1.
    """

    prompt: str
    references: tuple[str, ...]
    metadata: Mapping[str, Any]
    split: str
    number: int


@dataclass(frozen=True)
class PromptFile:
    """A file of prompts; nothing is read until it is asked for.

    Attributes:
        path: the file.
        field: the columns of prompt and reference, e.g. "question:answer"; None for `prompt` and `references`.
    """

    path: Path
    field: str | None = None

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.path.name

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the bytes and the field."""
        data = read_file(self.path)
        return hashlib.sha256(f"{_RULES}\n{self.name}\n{self.field}\n".encode() + data).hexdigest()[:16]

    @cached_property
    def records(self) -> tuple[PromptRecord, ...]:
        """The prompts in the order of the file.

        Raises:
            CorpusError: the file is unreadable, ill-formed or empty; a column is missing; a prompt is blank, or stands
                there twice with other metadata or in both splits; a split is empty. The message names the record.
        """
        records = READERS[self.path.suffix.lower()](self.path, read_text(self.path))
        if not records:
            raise CorpusError(f"{self.path} holds no records: a file of prompts needs at least two")
        columns = _Columns.of(self.path, records, self.field)
        merged = _merged(self.path, [columns.read(record, number) for number, record in enumerate(records, start=1)])
        return _split(self.path, merged)

    def training_texts(self) -> list[str]:
        """Prompts and references of the training split: what a tokenizer learns from."""
        train = [record for record in self.records if record.split == "train"]
        return [text for record in train for text in (record.prompt, *record.references)]


def open_prompts(path: str | Path, field: str | None = None) -> PromptFile:
    """Names a file of prompts without reading it.

    Args:
        path: a .jsonl, .json, .csv or .tsv file.
        field: the columns of prompt and reference, "PROMPT:REFERENCE" or "PROMPT".

    Raises:
        CorpusError: no such file, or a format that is not read.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CorpusError(f"there is no file {path}. Prompts come from a file that ends in {', '.join(READERS)}")
    if path.suffix.lower() not in READERS:
        raise CorpusError(f"cannot read prompts from {path}: the file ends in one of {', '.join(READERS)}")
    return PromptFile(path, field)


@dataclass(frozen=True)
class _Columns:
    """Which column holds what."""

    path: Path
    prompt: str
    references: tuple[str, ...]
    split: bool

    @classmethod
    def of(cls, path: Path, records: Sequence[Record], field: str | None) -> "_Columns":
        names = list(dict.fromkeys(name for record in records for name in record))
        prompt, _, reference = (field or "").partition(":")
        for wanted in (prompt or PROMPT, reference):
            if wanted and wanted not in names:
                hint = did_you_mean(wanted, names) if field else "Say which: field='PROMPT:REFERENCE'."
                raise CorpusError(f"{path} has no column {wanted!r}; it has {', '.join(map(repr, names))}. {hint}")
        return cls(path, prompt or PROMPT, (reference,) if reference else REFERENCES, SPLIT in names)

    def read(self, record: Record, number: int) -> PromptRecord:
        """One record, checked."""
        where = f"{self.path}, record {number}"
        prompt = record.get(self.prompt)
        if not isinstance(prompt, str) or not prompt.strip():
            raise CorpusError(f"{where}: {self.prompt!r} is a text that is not blank, not {prompt!r}")
        known = (self.prompt, *self.references, SPLIT)
        return PromptRecord(
            prompt,
            tuple(text for name in self.references for text in self._texts(name, record.get(name), where)),
            {name: value for name, value in record.items() if name not in known},
            self._side(record.get(SPLIT), where) if self.split else "",
            number,
        )

    def _texts(self, name: str, value: Any, where: str) -> list[str]:
        if name == "references" and isinstance(value, str) and value.lstrip().startswith("["):
            with suppress(ValueError):  # a text that begins with a bracket
                value = json.loads(value)
        texts = value if isinstance(value, list) else [] if value is None else [value]
        for text in texts:
            if not isinstance(text, str):
                raise CorpusError(f"{where}: {name!r} holds texts or a list of texts, not {text!r}")
        return [text for text in texts if text.strip()]

    def _side(self, value: Any, where: str) -> str:
        side = SPLIT_NAMES.get(value.strip().lower()) if isinstance(value, str) else None
        if side is None:
            raise CorpusError(f"{where}: {SPLIT!r} is one of {', '.join(SPLIT_NAMES)}, not {value!r}")
        return side


def _merged(path: Path, records: Sequence[PromptRecord]) -> list[PromptRecord]:
    """One record a prompt: references are put together, each once."""
    by_prompt: dict[str, PromptRecord] = {}
    repeats = 0
    for new in records:
        old = by_prompt.setdefault(new.prompt, new)
        if old is new:
            by_prompt[new.prompt] = replace(new, references=tuple(dict.fromkeys(new.references)))
            continue
        _check_same(path, old, new)
        together = tuple(dict.fromkeys((*old.references, *new.references)))
        repeats += together == old.references
        by_prompt[new.prompt] = replace(old, references=together)
    if repeats:
        _log.info("%s of %s records of %s say nothing new and are left out", f"{repeats:,}", f"{len(records):,}", path)
    return list(by_prompt.values())


def _check_same(path: Path, old: PromptRecord, new: PromptRecord) -> None:
    """What is known of a prompt is a function of the prompt."""
    what = f"{path}: records {old.number} and {new.number} have the same prompt {old.prompt[:60]!r}"
    if old.split != new.split:
        raise CorpusError(f"{what} and stand in both splits: leave one of them out")
    for name in {**old.metadata, **new.metadata}:
        if old.metadata.get(name) != new.metadata.get(name):
            raise CorpusError(
                f"{what} and differ in {name!r}, which a scorer could not tell from the prompt: make them one record, "
                "or leave that column out"
            )


def _split(path: Path, records: Sequence[PromptRecord]) -> tuple[PromptRecord, ...]:
    """The records with the split of each: as the file says, else a tenth held out by the hash of the prompt."""
    if len(records) < 2:
        raise CorpusError(f"{path} has {len(records)} prompt: one to train on and one to hold out are needed")
    digests = {r.prompt: hashlib.sha256(r.prompt.encode("utf-8", "surrogatepass")).digest() for r in records}
    ranked = sorted(digests, key=digests.__getitem__)
    heldout = set(ranked[: max(1, round(HELDOUT_SHARE * len(ranked)))])
    sides = [record.split or ("heldout" if record.prompt in heldout else "train") for record in records]
    for side in ("train", "heldout"):
        if side not in sides:
            names = ", ".join(name for name, of in SPLIT_NAMES.items() if of == side)
            raise CorpusError(f"{path} has no record of the {side} split ({names}): add some, or drop the column split")
    return tuple(replace(record, split=side) for record, side in zip(records, sides, strict=True))
