"""Byte-level byte-pair encoding (Sennrich et al. 2016; byte level: Radford et al. 2019), by the `tokenizers` library.

All 256 bytes are in the vocabulary, so no text is unknown. The reserved ids stand outside the library's model, which
therefore reads a literal "<eos>" as the five characters it is.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from textgym.errors import TokenizerError
from textgym.text.reserved import RESERVED, ByteTokens, room_for
from textgym.types import TokenIds

if TYPE_CHECKING:
    import tokenizers

BYTES = 256


def _byte_alphabet() -> dict[int, str]:
    """GPT-2's printable stand-in for every byte: itself where visible in Latin-1, else the next from U+0100 on."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = iter(range(0x100, 0x100 + BYTES))
    return {byte: chr(byte if byte in visible else next(hidden)) for byte in range(BYTES)}


_CHARACTER = _byte_alphabet()
BYTE_OF = {character: byte for byte, character in _CHARACTER.items()}
"""The byte that each character of GPT-2's alphabet stands for."""


@dataclass(frozen=True, eq=False, repr=False)
class BPETokenizer(ByteTokens):
    """Byte-level BPE: 3 reserved ids, 256 bytes, then one token a merge.

    Args:
        merges: the learned merges, first learned first, in GPT-2's byte alphabet (a blank is ``Ġ``).
    """

    kind: ClassVar[str] = "bpe"
    merges: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        known = set(BYTE_OF)
        for pair in self.merges:
            if len(pair) != 2 or not known.issuperset(pair):
                raise TokenizerError(f"a bpe merge joins two earlier tokens; got {pair!r}")
            known.add(pair[0] + pair[1])

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        """Tokens in the byte alphabet to the library's ids, which are ours less 3."""
        tokens = [*sorted(BYTE_OF), *(left + right for left, right in self.merges)]
        return {token: index for index, token in enumerate(dict.fromkeys(tokens))}

    @cached_property
    def _table(self) -> list[bytes]:
        return [b""] * len(RESERVED) + [bytes(map(BYTE_OF.__getitem__, token)) for token in self._vocabulary]

    @cached_property
    def _model(self) -> "tokenizers.Tokenizer":
        from tokenizers import Tokenizer, models, pre_tokenizers

        model = Tokenizer(models.BPE(vocab=self._vocabulary, merges=list(self.merges)))
        model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        return model

    @property
    def vocab_size(self) -> int:
        """V, the three reserved ids included."""
        return len(RESERVED) + len(self._vocabulary)

    def content(self) -> dict[str, Any]:
        """The merges, first learned first."""
        return {"merges": [list(pair) for pair in self.merges]}

    def encode(self, text: str) -> TokenIds:
        """Ids of a text, shape (T,). Nothing is unknown; a lone surrogate counts as U+FFFD."""
        return _shifted(self._model.encode(sound(text), add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[TokenIds]:
        """Ids of many texts, encoded on all cores; equal to `encode` of each."""
        encodings = self._model.encode_batch_fast([sound(text) for text in texts], add_special_tokens=False)
        return [_shifted(encoding.ids) for encoding in encodings]


def train_bpe(texts: Iterable[str], vocab_size: int) -> BPETokenizer:
    """Learns merges of pairs that occur at least twice, until V is reached or none is left. See `train_tokenizer`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    room = room_for(vocab_size, len(RESERVED) + BYTES, "bpe")
    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=room, min_frequency=2, initial_alphabet=sorted(BYTE_OF), special_tokens=[], show_progress=False
    )
    model.train_from_iterator(map(sound, texts), trainer=trainer)
    merges = json.loads(model.to_str())["model"]["merges"]
    return BPETokenizer(tuple((pair[0], pair[1]) for pair in merges))


def _shifted(ids: list[int]) -> TokenIds:
    array = np.array(ids, dtype=np.int32)
    array += len(RESERVED)
    return array


def sound(text: str) -> str:
    """The text with lone surrogates (a shell's undecodable bytes, a JSON escape) as U+FFFD: the library wants UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
