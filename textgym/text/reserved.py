"""What all tokenizers share: the three reserved ids, identity by signature, and the check of ids."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np

from textgym.errors import TokenizerError
from textgym.types import TokenIds

RESERVED = ("<unk>", "<sep>", "<eos>")
"""The reserved tokens, ids 0, 1 and 2 in every vocabulary that is trained here; no text encodes to the last two."""

_VISIBLE = str.maketrans({"\n": "⏎", "\t": "⇥", " ": "␣", "\r": "␍", "\u3000": "□"})
_T = TypeVar("_T", bound="ReservedIds")


class ReservedIds(ABC):
    """Base of the tokenizers: frozen dataclasses that are equal iff their signatures are."""

    kind: ClassVar[str]
    unk_id: int = 0
    sep_id: int = 1
    eos_id: int = 2

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """V, the three reserved ids included."""

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """What the file holds beside the kind, as JSON values; with the kind it determines every id."""

    @abstractmethod
    def encode(self, text: str) -> TokenIds:
        """Ids of a text, shape (T,); never the separator or EOS."""

    @abstractmethod
    def decode(self, ids: Sequence[int] | TokenIds) -> str:
        """Text of ids; reserved ids leave no trace. Raises TokenizerError for ids outside 0..V-1."""

    @abstractmethod
    def piece(self, token_id: int) -> str:
        """The text of one token that is not reserved, as it stands in the vocabulary."""

    def token_bytes(self, token_id: int) -> bytes:
        """What a token adds to a text, in UTF-8; nothing, if it is reserved."""
        reserved = token_id in (self.unk_id, self.sep_id, self.eos_id)
        return b"" if reserved else self.piece(token_id).encode("utf-8", "surrogatepass")

    def encode_batch(self, texts: Sequence[str]) -> list[TokenIds]:
        """Ids of many texts; equal to `encode` of each, and faster where the tokenizer can run them together."""
        return [self.encode(text) for text in texts]

    def token(self, token_id: int) -> str:
        """One token as a person should see it: reserved ids by name, blanks as ␣ ⏎ ⇥, bytes as <0xE6>."""
        index = int(self.checked([token_id])[0])
        reserved = (self.unk_id, self.sep_id, self.eos_id)
        if index in reserved:
            return RESERVED[reserved.index(index)]
        shown = self.piece(index).translate(_VISIBLE)
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)

    def checked(self, ids: Sequence[int] | TokenIds) -> np.ndarray:
        """`ids` as an integer array, shape (T,).

        Raises:
            TokenizerError: an id is not an integer from 0 to V - 1.
        """
        array = np.asarray(ids)
        if not array.size:
            return np.zeros(0, dtype=np.int32)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise TokenizerError(f"token ids are one row of integers; got {array.dtype} of shape {array.shape}")
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= self.vocab_size:
            wrong = low if low < 0 else high
            raise TokenizerError(
                f"token id {wrong} is outside this vocabulary. Ids of {self.signature} run from 0 to "
                f"{self.vocab_size - 1}; -1 is padding: cut it off first"
            )
        return array

    @cached_property
    def signature(self) -> str:
        """Kind, size and content hash, e.g. ``bpe:2048:3f1c9a0e``."""
        text = canonical_json({"kind": self.kind, **self.content()})
        return f"{self.kind}:{self.vocab_size}:{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReservedIds) and self.signature == other.signature

    def __hash__(self) -> int:
        return hash(self.signature)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.signature}>"

    def __copy__(self: _T) -> _T:
        return self

    def __deepcopy__(self: _T, memo: dict[int, Any]) -> _T:
        return self

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        # Only the vocabulary travels to worker processes; tables are rebuilt there.
        return type(self), tuple(getattr(self, f.name) for f in fields(self))  # type: ignore[arg-type]


class ByteTokens(ReservedIds):
    """Tokenizers whose tokens are bytes, in which a character may be cut."""

    @property
    @abstractmethod
    def _table(self) -> list[bytes]:
        """What each id adds to a text; nothing, if it is reserved or no token."""

    def decode(self, ids: Sequence[int] | TokenIds) -> str:
        """Text of ids; reserved ids leave no trace, bytes that are no UTF-8 show as U+FFFD.

        Raises:
            TokenizerError: an id is outside 0..V-1.
        """
        table = self._table
        return b"".join([table[index] for index in self.checked(ids).tolist()]).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """What a token adds to a text, in UTF-8; may be a part of a character."""
        return self._table[token_id]

    def piece(self, token_id: int) -> str:
        """The text of one token; a part of a character as its bytes, e.g. ``<0xE6><0x98>``."""
        data = self._table[token_id]
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return "".join(f"<0x{byte:02X}>" for byte in data)


def canonical_json(value: dict[str, Any]) -> str:
    """JSON with one spelling for one value: sorted keys, no blanks, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def room_for(vocab_size: int, least: int, kind: str) -> int:
    """How many learned tokens `vocab_size` leaves.

    Raises:
        TokenizerError: `vocab_size` is below `least`.
    """
    if vocab_size < least:
        raise TokenizerError(
            f"a {kind} vocabulary of {vocab_size} tokens is too small: it needs at least {least} "
            f"({len(RESERVED)} reserved + {least - len(RESERVED)})"
        )
    return vocab_size - len(RESERVED)
