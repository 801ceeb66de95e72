"""Prompts of a file as the arrays that an environment draws from: a `PromptSet` with references and metadata."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, UInt8

from textgym.errors import CorpusError, TaskError
from textgym.text.prompt_files import PromptRecord
from textgym.text.prompts import OnLongPrompt, PromptSet, encode_all
from textgym.text.store import pack_texts
from textgym.types import TokenIds, Tokenizer

_log = logging.getLogger("textgym")


@dataclass(frozen=True)
class RecordSet(PromptSet):
    """N prompts of a file, as rows of a `PromptSet`: row i is prompt i with its first reference, if it has one.

    Rows from N on pair a prompt with its other references. A row's reference is cut at the budget; `references` are
    verbatim. `document` is the number of the prompt.

    Attributes:
        known: references and metadata of each prompt, JSON texts end to end.
        known_ends: where the text of each prompt ends; one more than N, the first is 0.
    """

    known: UInt8[np.ndarray, " C"]
    known_ends: Int64[np.ndarray, " E"]

    def references(self, index: int, tokenizer: Tokenizer) -> tuple[str, ...]:
        """The references of a prompt, verbatim; may be none."""
        return tuple(self._known(index)[0])

    def metadata(self, index: int) -> Mapping[str, Any]:
        """What else the file says of a prompt."""
        found: dict[str, Any] = self._known(index)[1]
        return found

    def passage(self, index: int) -> TokenIds:
        """The reference alone: a prompt is often another kind of text, such as a list of facts."""
        return self.reference(index)

    def _known(self, index: int) -> Any:
        data = self._bytes[int(self.known_ends[index]) : int(self.known_ends[index + 1])]
        return json.loads(data.decode("utf-8", "surrogatepass"))

    @cached_property
    def _bytes(self) -> bytes:
        return self.known.tobytes()


@runtime_checkable
class Records(Protocol):
    """Where records come from: a file, or whatever else lists them."""

    @property
    def path(self) -> Path:
        """What messages call it."""

    @property
    def records(self) -> Sequence[PromptRecord]:
        """All of them, of both splits."""


def build_record_sets(
    source: Records,
    tokenizer: Tokenizer,
    *,
    max_new_tokens: int,
    max_prompt_tokens: int,
    on_long_prompt: OnLongPrompt,
) -> dict[str, RecordSet]:
    """The prompts of a file as ``{"train": RecordSet, "heldout": RecordSet}``.

    Args:
        source: the file, or another list of records.
        tokenizer: gives the ids.
        max_new_tokens: the budget: no reference has more ids, EOS included.
        max_prompt_tokens: the longest prompt allowed.
        on_long_prompt: what to do with a longer one: "error", "truncate" (its end is lost) or "skip".

    Raises:
        CorpusError: a file that cannot be used, see `PromptFile.records`; or no prompt of a split is short enough.
        TaskError: a prompt too long under "error".
    """
    prompts = encode_all(tokenizer, [record.prompt for record in source.records])
    long = np.array([len(ids) > max_prompt_tokens for ids in prompts])
    if long.any():
        _tell_of_long(source, prompts, long, max_prompt_tokens, on_long_prompt)
    sets = {}
    for split in ("train", "heldout"):
        kept = [
            (record, ids[:max_prompt_tokens], number)
            for number, (record, ids) in enumerate(zip(source.records, prompts, strict=True))
            if record.split == split and (on_long_prompt != "skip" or not long[number])
        ]
        if not kept:
            raise CorpusError(
                f"every {split} prompt of {source.path} is longer than max_prompt_tokens={max_prompt_tokens} and was "
                'skipped: raise it, or use on_long_prompt="truncate"'
            )
        records, ids, numbers = zip(*kept, strict=True)
        sets[split] = _record_set(records, ids, numbers, tokenizer, max_new_tokens)
    return sets


def _tell_of_long(
    source: Records, prompts: Sequence[TokenIds], long: np.ndarray, limit: int, rule: OnLongPrompt
) -> None:
    worst = max(range(len(prompts)), key=lambda i: len(prompts[i]))
    said = f"{int(long.sum()):,} of {len(prompts):,} prompts of {source.path} have more than max_prompt_tokens={limit}"
    if rule == "error":
        raise TaskError(
            f"{said} tokens; the longest has {len(prompts[worst])}: {source.records[worst].prompt[:60]!r}. Raise the "
            'limit, or use on_long_prompt="truncate" or "skip"'
        )
    _log.info("%s tokens and are %s", said, "left out" if rule == "skip" else "cut off there")


def _record_set(
    records: Sequence[PromptRecord],
    prompts: Sequence[TokenIds],
    numbers: Sequence[int],
    tokenizer: Tokenizer,
    budget: int,
) -> RecordSet:
    """One row a prompt, then one row for each reference beyond the first."""
    owners = [*range(len(records)), *(i for i, record in enumerate(records) for _ in record.references[1:])]
    texts = [record.references[0] if record.references else "" for record in records]
    texts += [text for record in records for text in record.references[1:]]
    references = [ids[:budget] for ids in encode_all(tokenizer, texts)]
    given = np.array([bool(text) for text in texts])
    lengths = np.array([len(ids) for ids in references], dtype=np.int64)
    halves = [half for row, owner in enumerate(owners) for half in (prompts[owner], references[row])]
    edges = np.concatenate([[0], np.cumsum([len(half) for half in halves], dtype=np.int64)])
    known = pack_texts([json.dumps([record.references, record.metadata], ensure_ascii=False) for record in records])
    nowhere = np.zeros(len(owners), dtype=np.int64)
    return RecordSet(
        opening=np.concatenate(halves, dtype=np.int32),
        following=np.zeros(0, dtype=np.int32),
        begin=edges[:-1:2],
        cut=edges[1::2],
        end=edges[2::2],
        then=nowhere,
        until=nowhere,
        ended=given & (lengths < budget),
        document=np.array(numbers, dtype=np.int64)[owners],
        tiles=np.flatnonzero(given),
        size=np.array([len(records)], dtype=np.int64),
        eos=np.array([tokenizer.eos_id], dtype=np.int64),
        known=known["bytes"],
        known_ends=known["offsets"],
    )
