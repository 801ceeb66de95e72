"""Tokenizers whose vocabulary is a list of text pieces: characters, or words with the blank before them."""

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from textgym.errors import TokenizerError
from textgym.text.reserved import RESERVED, ReservedIds, room_for
from textgym.text.sentences import CJK, split_units
from textgym.types import TokenIds

_LETTER = rf"(?:(?![{CJK}])[^\W\d_])"
_WORD_PIECE = re.compile(
    rf"[{CJK}]"
    rf"| ?{_LETTER}+(?:['’]{_LETTER}+)*"  # GPT-2's manner: one blank belongs to the word behind it
    r"| ?\d"
    r"| ?([^\w\s]|_)\1*"  # a run of one mark: "...", "--", "。"
    r"|\s"
)


@dataclass(frozen=True, eq=False, repr=False)
class PieceTokenizer(ReservedIds):
    """Cuts a text into pieces and looks each up; a piece that is not in the vocabulary is ``<unk>``.

    Args:
        pieces: the vocabulary without the reserved tokens, V - 3 distinct texts; piece k has the id k + 3.
    """

    kind: ClassVar[str]
    pieces: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.pieces or len(set(self.pieces)) != len(self.pieces) or "" in self.pieces:
            raise TokenizerError(f"a {self.kind} vocabulary is a list of one or more distinct, non-empty pieces")

    @staticmethod
    @abstractmethod
    def split(text: str) -> Sequence[str]:
        """The pieces of a text, lossless: ``"".join(split(text)) == text``."""

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {piece: index for index, piece in enumerate(self.pieces, start=len(RESERVED))}

    @cached_property
    def _table(self) -> list[str]:
        return [""] * len(RESERVED) + list(self.pieces)

    @property
    def vocab_size(self) -> int:
        """V, the three reserved ids included."""
        return len(RESERVED) + len(self.pieces)

    def content(self) -> dict[str, Any]:
        """The pieces in the order of their ids."""
        return {"pieces": list(self.pieces)}

    def encode(self, text: str) -> TokenIds:
        """Ids of a text, shape (T,); unknown pieces become ``<unk>``."""
        lookup, unknown = self._ids.get, self.unk_id
        return np.array([lookup(piece, unknown) for piece in self.split(text)], dtype=np.int32)

    def decode(self, ids: Sequence[int] | TokenIds) -> str:
        """Text of ids; reserved ids leave no trace. Raises TokenizerError for ids outside 0..V-1."""
        table = self._table
        return "".join([table[index] for index in self.checked(ids).tolist()])

    def piece(self, token_id: int) -> str:
        """The text of one token."""
        return self._table[token_id]


@dataclass(frozen=True, eq=False, repr=False)
class CharTokenizer(PieceTokenizer):
    """One token a character."""

    kind: ClassVar[str] = "char"

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(len(piece) != 1 for piece in self.pieces):
            raise TokenizerError("a char vocabulary holds single characters")

    @staticmethod
    def split(text: str) -> Sequence[str]:
        """The characters."""
        return text


@dataclass(frozen=True, eq=False, repr=False)
class WordTokenizer(PieceTokenizer):
    """One token a word with the blank before it, a digit, a mark, or a Chinese or Japanese character.

    A double blank or a newline is a token of its own, so that the tokens of a text, end to end, are the text.
    """

    kind: ClassVar[str] = "word"

    @staticmethod
    def split(text: str) -> Sequence[str]:
        """The pieces in GPT-2's manner: ``"Hi, you"`` gives ``["Hi", ",", " you"]``."""
        return [match[0] for match in _WORD_PIECE.finditer(text)]


@dataclass(frozen=True, eq=False, repr=False)
class LexiconTokenizer(PieceTokenizer):
    """A closed vocabulary that was written down, not learned: the longest piece that fits is taken.

    A word of Latin letters ends where its letters end: a vocabulary with " knife" does not find it in " knifed".
    """

    kind: ClassVar[str] = "lexicon"

    def encode(self, text: str) -> TokenIds:
        """Ids of a text, shape (T,); a word, or else a character, that is in no piece becomes ``<unk>``."""
        lookup, unknown = self._ids.get, self.unk_id
        return np.array([lookup(match[0], unknown) for match in self._pattern.finditer(text)], dtype=np.int32)

    @staticmethod
    def split(text: str) -> Sequence[str]:
        """As words are cut, for a text without a vocabulary."""
        return WordTokenizer.split(text)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.pieces, key=lambda piece: (-len(piece), piece))
        whole = [re.escape(p) + (r"(?![A-Za-z])" if p[-1].isascii() and p[-1].isalpha() else "") for p in longest_first]
        return re.compile("|".join([*whole, _WORD_PIECE.pattern]))


def train_char(texts: Iterable[str], vocab_size: int) -> CharTokenizer:
    """The `vocab_size` - 3 most frequent characters (ties by code point). See `train_tokenizer`."""
    return CharTokenizer(_most_frequent(texts, room_for(vocab_size, 4, "char")))


def train_word(texts: Iterable[str], vocab_size: int) -> WordTokenizer:
    """The `vocab_size` - 3 most frequent word pieces (ties by code point). See `train_tokenizer`.

    The first word of a sentence is counted as it stands in the text, with a blank before it, and once more without,
    as it stands at the beginning of a prompt.
    """
    return WordTokenizer(_most_frequent(map(_pieces_met, texts), room_for(vocab_size, 4, "word")))


def _pieces_met(text: str) -> list[str]:
    units = split_units(text)
    return [*WordTokenizer.split(text), *(match[0] for unit in units[1:] if (match := _WORD_PIECE.match(unit)))]


def _most_frequent(pieces: Iterable[Sequence[str]], size: int) -> tuple[str, ...]:
    counts: Counter[str] = Counter()
    for row in pieces:
        counts.update(row)
    return tuple(sorted(counts, key=lambda piece: (-counts[piece], piece))[:size])
