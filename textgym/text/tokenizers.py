"""Training tokenizers on text, and keeping them as JSON files."""

import json
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from textgym.errors import TokenizerError, UnknownNameError
from textgym.text.bpe import BPETokenizer, train_bpe
from textgym.text.hugging_face import HuggingFaceTokenizer, open_hugging_face
from textgym.text.pieces import CharTokenizer, LexiconTokenizer, WordTokenizer, train_char, train_word
from textgym.text.reserved import RESERVED, ReservedIds, canonical_json
from textgym.text.sentences import cjk_share
from textgym.text.store import write_atomic
from textgym.types import Tokenizer

__all__ = [
    "KINDS",
    "RESERVED",
    "VOCAB_SIZES",
    "BPETokenizer",
    "CharTokenizer",
    "HuggingFaceTokenizer",
    "LexiconTokenizer",
    "ReservedIds",
    "WordTokenizer",
    "load_tokenizer",
    "open_tokenizer",
    "save_tokenizer",
    "tokenizer_from_json",
    "tokenizer_to_json",
    "train_tokenizer",
]

_TRAINERS: Final[dict[str, Callable[[Sequence[str], int], ReservedIds]]] = {
    "bpe": train_bpe,
    "char": train_char,
    "word": train_word,
}
KINDS = ("auto", *_TRAINERS)
"""What `train_tokenizer` takes as kind."""

VOCAB_SIZES = {"bpe": 8192, "char": 8192, "word": 4096}
"""The default V of each kind: small for a small model's sake, but room for the characters of Chinese, and for whole
words among the pieces of BPE: of 2,048 a model of 0.8 million weights made up one word in ten (tales) or seven
(Shakespeare), of 8,192 one in eighteen or ten."""

_VERSION = 1


def train_tokenizer(kind: str, texts: Sequence[str], vocab_size: int | None = None) -> ReservedIds:
    """Learns a vocabulary; the same texts give the same ids, on every machine and in any order of the texts.

    Args:
        kind: "char", "word", "bpe", or "auto": "char" where most characters are Chinese or Japanese, else "bpe".
        texts: what to learn from.
        vocab_size: the largest V, the 3 reserved ids included; V comes out smaller where the texts hold less. None
            takes what suits the kind, `VOCAB_SIZES`.

    Raises:
        UnknownNameError: no such kind.
        TokenizerError: `vocab_size` is too small for the kind, or the texts are all empty.
    """
    if kind not in KINDS:
        raise UnknownNameError("tokenizer", kind, KINDS)
    if not any(texts):
        raise TokenizerError(f"a {kind} tokenizer cannot be trained on {len(texts)} texts without a single character")
    if kind == "auto":
        kind = "char" if cjk_share("".join(texts)) > 0.5 else "bpe"
    return _TRAINERS[kind](texts, VOCAB_SIZES[kind] if vocab_size is None else vocab_size)


def tokenizer_to_json(tokenizer: Tokenizer) -> str:
    """The tokenizer as one JSON object; equal tokenizers give equal text.

    Raises:
        TokenizerError: it is not one of this package's kinds.
    """
    if not isinstance(tokenizer, ReservedIds):
        raise TokenizerError(
            f"{type(tokenizer).__name__} has no file form; those that have one: {', '.join(_TRAINERS)}"
        )
    head = {"textgym": "tokenizer", "version": _VERSION, "kind": tokenizer.kind}
    return canonical_json({**head, **tokenizer.content()})


def tokenizer_from_json(text: str) -> ReservedIds:
    """The tokenizer that `tokenizer_to_json` wrote.

    Raises:
        TokenizerError: the text is empty, cut short, of another program or of a newer version.
    """
    if not text.strip():
        raise TokenizerError("it is empty")
    try:
        value = json.loads(text)
    except ValueError as error:
        raise TokenizerError(f"it is no JSON, or cut short ({error})") from error
    if not isinstance(value, dict) or value.get("textgym") != "tokenizer":
        raise TokenizerError('it is no tokenizer of TextGym, which says {"textgym": "tokenizer", ...}')
    if value.get("version") != _VERSION:
        raise TokenizerError(f"its version is {value.get('version')!r}, this TextGym reads version {_VERSION}")
    kind = value.get("kind")
    if kind == "char":
        return CharTokenizer(_strings(value, "pieces"))
    if kind == "word":
        return WordTokenizer(_strings(value, "pieces"))
    if kind == "lexicon":
        return LexiconTokenizer(_strings(value, "pieces"))
    if kind == "bpe":
        return BPETokenizer(_pairs(value, "merges"))
    if kind == "hf":
        definition, reserved = value.get("definition"), value.get("reserved")
        if not isinstance(definition, dict) or not isinstance(reserved, list) or len(reserved) != 3:
            raise TokenizerError("its 'definition' is no object, or its 'reserved' are not three ids")
        return HuggingFaceTokenizer(canonical_json(definition), *map(int, reserved))
    raise TokenizerError(f"its kind is {kind!r}; known: {', '.join((*_TRAINERS, 'lexicon', 'hf'))}")


def save_tokenizer(tokenizer: Tokenizer, path: str | Path) -> None:
    """Writes the tokenizer as a JSON file, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (tokenizer_to_json(tokenizer) + "\n").encode())


def load_tokenizer(path: str | Path) -> ReservedIds:
    """Reads a tokenizer file.

    Raises:
        TokenizerError: the file is missing, unreadable, cut short, or no tokenizer; the message names it.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        raise TokenizerError(f"cannot read the tokenizer {path}: {error.strerror}. Give a tokenizer.json") from error
    except UnicodeDecodeError as error:
        raise TokenizerError(f"cannot use the tokenizer {path}: it is no UTF-8 text") from error
    try:
        return tokenizer_from_json(text)
    except TokenizerError as error:
        raise TokenizerError(f"cannot use the tokenizer {path}: {error}") from error


def open_tokenizer(name: str) -> ReservedIds:
    """The tokenizer that a setting names: a file of this package, or one of Hugging Face's.

    Args:
        name: a tokenizer.json of TextGym; or whatever `textgym.text.hugging_face.open_hugging_face` takes.

    Raises:
        TokenizerError: it cannot be read or used; the message names it.
        UnknownNameError: no file, and almost the name of a kind that can be trained.
        MissingExtraError: a name on the hub, and `transformers` is not installed.
    """
    path = Path(name)
    if path.is_file():
        stat = path.stat()
        return _opened(path, (stat.st_mtime_ns, stat.st_size))
    if path.suffix == ".json":
        return load_tokenizer(path)  # which says that there is none
    if not path.is_dir() and get_close_matches(name, KINDS):
        raise UnknownNameError("tokenizer", name, [*KINDS, "a path to a tokenizer.json", "a name on the hub"])
    return open_hugging_face(name)


@lru_cache(maxsize=8)
def _opened(path: Path, state: tuple[int, int]) -> ReservedIds:
    """Kept, since every environment of a vector opens it again; `state` tells a changed file from what is kept."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return load_tokenizer(path)  # which says what is wrong
    theirs = isinstance(value, dict) and value.get("textgym") != "tokenizer"
    return open_hugging_face(path) if theirs else load_tokenizer(path)


def _strings(value: dict[str, Any], name: str) -> tuple[str, ...]:
    items = value.get(name)
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise TokenizerError(f"its {name!r} is no list of strings")
    return tuple(items)


def _pairs(value: dict[str, Any], name: str) -> tuple[tuple[str, str], ...]:
    items = value.get(name)
    if not isinstance(items, list) or not all(
        isinstance(item, list) and len(item) == 2 and all(isinstance(part, str) for part in item) for item in items
    ):
        raise TokenizerError(f"its {name!r} is no list of pairs of strings")
    return tuple((left, right) for left, right in items)
