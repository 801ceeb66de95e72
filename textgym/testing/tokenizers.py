"""Conformance of a tokenizer: run it on your own before you plug it into a task."""

import copy
from collections.abc import Sequence
from typing import Final

import numpy as np

from textgym.errors import TokenizerError
from textgym.text.tokenizers import ReservedIds, tokenizer_from_json, tokenizer_to_json
from textgym.types import TokenIds, Tokenizer

ODD_TEXTS: Final = (
    "",
    " ",
    "\n\n \t",
    "The cat sat on the mat.",
    "<sep> is no separator, and <eos> ends nothing; <unk>",
    "  two  blanks, a tab\tand a line\nbreak ",
    "秦川雄帝宅，函谷壯皇居。",
    "naïve café — 3.14 €",
    "👩‍👩‍👧 and 🇨🇳",
    "שלום עולם, مرحبا",
    "e\u0301 \u200f \x00 \ufeff \ud800",
)
"""Texts that break careless tokenizers: empty, blank, reserved names, emoji, right to left, a lone surrogate."""


def check_tokenizer(tokenizer: Tokenizer, texts: Sequence[str] | None = None) -> None:
    """Proves that a tokenizer keeps the contract of `textgym.types.Tokenizer`.

    Args:
        tokenizer: what to check.
        texts: texts of your own, checked beside `ODD_TEXTS`.

    Raises:
        AssertionError: a breach, said in one sentence.
    """
    everything = [*ODD_TEXTS, *(texts or ())]
    _check_reserved_ids(tokenizer)
    _check_signature(tokenizer)
    rows = [_checked_encoding(tokenizer, text) for text in everything]
    for text, ids in zip(everything, rows, strict=True):
        _check_round_trip(tokenizer, text, ids)
    for left, right in zip(rows, rows[1:] + rows[:1], strict=True):
        whole, parts = tokenizer.decode(np.concatenate([left, right])), tokenizer.decode(left) + tokenizer.decode(right)
        assert whole == parts, f"decoding two texts together gives {whole!r}, one after the other {parts!r}"
    _check_batch(tokenizer, everything, rows)
    _check_every_id(tokenizer)
    if isinstance(tokenizer, ReservedIds):
        again = tokenizer_from_json(tokenizer_to_json(tokenizer))
        assert again.signature == tokenizer.signature, "the signature changes when the tokenizer is saved and loaded"
        for text, ids in zip(everything, rows, strict=True):
            assert np.array_equal(again.encode(text), ids), f"{text!r} has other ids after saving and loading"


def _check_reserved_ids(tokenizer: Tokenizer) -> None:
    reserved = (tokenizer.unk_id, tokenizer.sep_id, tokenizer.eos_id)
    assert isinstance(tokenizer.vocab_size, int), f"vocab_size must be an int, not {tokenizer.vocab_size!r}"
    assert len({*reserved}) == 3 and all(0 <= index < tokenizer.vocab_size for index in reserved), (
        f"the ids of <unk>, <sep>, <eos> must be three of 0..{tokenizer.vocab_size - 1}, not {reserved}"
    )
    assert tokenizer.vocab_size > 3, f"a vocabulary of {tokenizer.vocab_size} holds nothing but the reserved tokens"
    for index, name in zip(reserved, ("<unk>", "<sep>", "<eos>"), strict=True):
        assert tokenizer.token(index) == name, f"token({index}) must be {name!r}, not {tokenizer.token(index)!r}"
    shown = tokenizer.decode(list(reserved))
    assert shown == "", f"reserved ids must leave no trace in decoded text, found {shown!r}"


def _check_signature(tokenizer: Tokenizer) -> None:
    signature = tokenizer.signature
    assert isinstance(signature, str) and signature, f"the signature must be a non-empty string, not {signature!r}"
    assert tokenizer.signature == signature, "the signature changes from one call to the next"
    assert copy.deepcopy(tokenizer).signature == signature, "the signature changes when the tokenizer is copied"


def _checked_encoding(tokenizer: Tokenizer, text: str) -> TokenIds:
    ids = tokenizer.encode(text)
    assert isinstance(ids, np.ndarray) and ids.dtype == np.int32 and ids.ndim == 1, (
        f"encode({text!r}) must give a row of int32, not {getattr(ids, 'dtype', type(ids).__name__)}"
    )
    assert not ids.size or (ids.min() >= 0 and ids.max() < tokenizer.vocab_size), (
        f"encode({text!r}) gives ids outside 0..{tokenizer.vocab_size - 1}"
    )
    for index, name in ((tokenizer.sep_id, "<sep>"), (tokenizer.eos_id, "<eos>")):
        assert index not in ids, f"encode({text!r}) gives the id of {name}: no text may contain it"
    assert np.array_equal(tokenizer.encode(text), ids), f"encode({text!r}) gives other ids the second time"
    assert bool(text) or not ids.size, f"the empty text must have no ids, not {ids.tolist()}"
    return ids


def _check_round_trip(tokenizer: Tokenizer, text: str, ids: TokenIds) -> None:
    decoded = tokenizer.decode(ids)
    assert decoded == tokenizer.decode(ids.tolist()), (
        f"a list and an array of the same ids decode differently: {text!r}"
    )
    sound = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if tokenizer.unk_id not in ids:
        assert decoded in (text, sound), f"{text!r} comes back as {decoded!r} though no token is unknown"
    else:
        left = iter(text)
        assert all(character in left for character in decoded), (
            f"{text!r} comes back as {decoded!r}: unknown tokens may drop characters, not add or move them"
        )


def _check_batch(tokenizer: Tokenizer, texts: Sequence[str], rows: Sequence[TokenIds]) -> None:
    batch = getattr(tokenizer, "encode_batch", None)
    if batch is None:
        return
    for text, ids, alone in zip(texts, batch(texts), rows, strict=True):
        assert ids.dtype == np.int32 and np.array_equal(ids, alone), f"encode_batch and encode differ on {text!r}"


def _check_every_id(tokenizer: Tokenizer) -> None:
    size = tokenizer.vocab_size
    for index in range(min(size, 5000)):
        assert isinstance(tokenizer.decode([index]), str), f"decode([{index}]) must give text"
        assert tokenizer.token(index), f"token({index}) must show something"
    tokenizer.decode(np.random.default_rng(0).integers(0, size, 1000, dtype=np.int32))
    for wrong in (-1, size):
        try:
            tokenizer.decode([wrong])
        except TokenizerError:
            continue
        raise AssertionError(f"decode([{wrong}]) must raise TokenizerError: ids run from 0 to {size - 1}")
