"""Any lossless tokenizer of Hugging Face: a tokenizer.json, a vocabulary with merges, a folder, or a name on the hub.

Ids are the original ones. Where the vocabulary has no <unk>, separator or end of text of its own, the missing ones get
the ids behind it. What would keep text from coming back is switched off (blanks put before a text, cutting to a length,
dropped merges, tokens put around a text); a tokenizer that still loses something is refused: a reward is computed on
decoded text, and a prompt that comes back in lower case is another prompt. (One exception: SentencePiece writes a blank
as ▁, so that a ▁ in a text comes back as a blank.) Text is decoded token by token, so that the
text of a prompt and its completion is the text of the prompt and the text of the completion.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from textgym.errors import MissingExtraError, TokenizerError
from textgym.text.bpe import BYTE_OF, sound
from textgym.text.reserved import ByteTokens, canonical_json
from textgym.types import TokenIds

if TYPE_CHECKING:
    import tokenizers

EOS_NAMES: Final = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eot_id|>", "<|im_end|>", "[EOS]")
SEP_NAMES: Final = ("<sep>", "[SEP]", "<|sep|>")
UNK_NAMES: Final = ("<unk>", "[UNK]", "<|unk|>")
"""What the reserved tokens are called where nothing says which they are; the first that is found counts."""

VOCABULARIES: Final = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
"""Pairs of files that make a byte-level BPE, as GPT-2 was published."""

_PROBES = (
    "The cat sat on the Mat.",
    " a  text,\twith blanks \n\nand lines ",
    "naïve café — “3.14” €, e\u0301 and ﬁ",
    "秦川雄帝宅，函谷壯皇居。",
    "👩‍👩‍👧 שלום <s> [CLS] ##ing </w>",
)


@dataclass(frozen=True, eq=False, repr=False)
class HuggingFaceTokenizer(ByteTokens):
    """A tokenizer of the `tokenizers` library behind the protocol of `textgym.types.Tokenizer`.

    Args:
        definition: content of a tokenizer.json, as canonical JSON; see `from_definition`.
        unk_id: the id of <unk>.
        sep_id: the id of the separator.
        eos_id: the id that ends a text.

    Raises:
        TokenizerError: the library cannot read the definition, or it is not lossless.
    """

    kind: ClassVar[str] = "hf"
    definition: str
    unk_id: int
    sep_id: int
    eos_id: int

    def __post_init__(self) -> None:
        if len({self.unk_id, self.sep_id, self.eos_id}) < 3 or min(self.unk_id, self.sep_id, self.eos_id) < 0:
            raise TokenizerError(f"three ids are reserved, not {self.unk_id}, {self.sep_id}, {self.eos_id}")
        for text in _PROBES:
            ids = self.encode(text)
            if self.unk_id not in ids and self.decode(ids) != text:
                raise TokenizerError(
                    f"it is not lossless: {text!r} comes back as {self.decode(ids)!r}. Rewards are computed on the "
                    "text that comes back, so this package takes lossless tokenizers only, e.g. byte-level BPE with "
                    "all 256 bytes in its vocabulary (GPT-2, Llama 3) or SentencePiece with byte fallback (Llama 2)"
                )

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any], names: Mapping[str, str]) -> "HuggingFaceTokenizer":
        """A tokenizer from the content of a tokenizer.json.

        Args:
            definition: the content.
            names: the tokens that are reserved, by role ("unk", "sep", "eos"); for a role that is not in it, or a name
                that the vocabulary does not have, well-known names are tried.

        Raises:
            TokenizerError: as the class.
        """
        cleaned = _cleaned(definition)
        text = canonical_json(cleaned)
        vocabulary = _library_tokenizer(text).get_vocab(with_added_tokens=True)
        model = cleaned.get("model", {})
        wanted = {
            "eos": (names.get("eos"), *EOS_NAMES),
            "sep": (names.get("sep"), *SEP_NAMES),
            "unk": (names.get("unk"), model.get("unk_token"), *UNK_NAMES),
        }
        size = max(vocabulary.values(), default=-1) + 1
        ids: dict[str, int] = {}
        for role, tried in wanted.items():
            taken = ids.values()
            found = [vocabulary[t] for t in tried if t in vocabulary and vocabulary[t] not in taken]
            ids[role] = found[0] if found else size
            size = max(size, ids[role] + 1)
        return cls(text, unk_id=ids["unk"], sep_id=ids["sep"], eos_id=ids["eos"])

    @cached_property
    def _model(self) -> "tokenizers.Tokenizer":
        return _library_tokenizer(self.definition)

    @cached_property
    def _table(self) -> list[bytes]:
        """What each id adds to a text; nothing, if it is reserved or no token."""
        table = [b""] * self.vocab_size
        to_bytes = _piece_bytes(json.loads(self.definition))
        for piece, index in self._model.get_vocab(with_added_tokens=False).items():
            table[index] = to_bytes(piece)
        for index, added in self._model.get_added_tokens_decoder().items():
            table[index] = added.content.encode()
        for index in (self.unk_id, self.sep_id, self.eos_id):
            table[index] = b""
        return table

    @cached_property
    def special_ids(self) -> tuple[int, ...]:
        """Ids that no text is made of, such as [CLS] or a padding token, and gaps; not those that are reserved here."""
        special = {i for i, added in self._model.get_added_tokens_decoder().items() if added.special}
        gaps = {i for i, data in enumerate(self._table) if not data}
        return tuple(sorted((special | gaps) - {self.unk_id, self.sep_id, self.eos_id}))

    @cached_property
    def vocab_size(self) -> int:
        """V, the reserved ids included."""
        known = self._model.get_vocab(with_added_tokens=True).values()
        return max(*known, self.unk_id, self.sep_id, self.eos_id) + 1

    def content(self) -> dict[str, Any]:
        """The definition and the reserved ids."""
        return {"definition": json.loads(self.definition), "reserved": [self.unk_id, self.sep_id, self.eos_id]}

    def encode(self, text: str) -> TokenIds:
        """Ids of a text, shape (T,), as the library gives them without special tokens."""
        return self._checked_ids(self._model.encode(sound(text), add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[TokenIds]:
        """Ids of many texts, encoded on all cores; equal to `encode` of each."""
        encodings = self._model.encode_batch_fast([sound(text) for text in texts], add_special_tokens=False)
        return [self._checked_ids(encoding.ids) for encoding in encodings]

    def _checked_ids(self, ids: list[int]) -> TokenIds:
        array = np.array(ids, dtype=np.int32)
        array[(array == self.sep_id) | (array == self.eos_id)] = self.unk_id  # a model that has "</s>" as a word
        return array

    def piece(self, token_id: int) -> str:
        """As in the base class; a gap in the vocabulary as ``<gap>``."""
        return super().piece(token_id) or "<gap>"


def open_hugging_face(name: str | Path) -> HuggingFaceTokenizer:
    """Loads a tokenizer of Hugging Face; the same file gives the same object.

    Args:
        name: a tokenizer.json; a vocab.json or encoder.json with its merges.txt or vocab.bpe beside it; a folder that
            holds these; or anything else that `transformers.AutoTokenizer` takes, such as a name on the hub.

    Raises:
        TokenizerError: it cannot be found, read or used; the message names it.
        MissingExtraError: `transformers` is needed and not installed.
    """
    path = Path(name)
    if path.is_dir():
        for inside in ("tokenizer.json", *(vocabulary for vocabulary, _ in VOCABULARIES)):
            if (path / inside).is_file():
                path = path / inside
                break
    if not path.is_file():
        return _from_hub(str(name))
    stat = path.stat()
    return _from_file(path, (stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=8)
def _from_file(path: Path, state: tuple[int, int]) -> HuggingFaceTokenizer:
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise TokenizerError(f"it holds a {type(content).__name__}, not a tokenizer")
        if not isinstance(content.get("model"), dict):  # a vocabulary, in which "model" may be a word
            return HuggingFaceTokenizer.from_definition(_byte_level_bpe(path, content), {})
        return HuggingFaceTokenizer.from_definition(content, _names_beside(path))
    except (OSError, ValueError) as error:  # a TokenizerError is a ValueError
        raise TokenizerError(f"cannot use the tokenizer {path}: {error}") from error


@lru_cache(maxsize=8)
def _from_hub(name: str) -> HuggingFaceTokenizer:
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise MissingExtraError("transformers", "hf", f"the tokenizer {name!r}, which is no tokenizer.json,") from None
    try:
        loaded = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise TokenizerError(
            f"cannot load the tokenizer {name!r}: {str(error).strip().splitlines()[0]}\n"
            "    Without a connection, give a folder or a tokenizer.json that was downloaded before"
        ) from error
    backend = getattr(loaded, "backend_tokenizer", None)
    if backend is None:
        raise TokenizerError(f"cannot use the tokenizer {name!r}: it has no fast version (tokenizer.json)")
    roles = {role: getattr(loaded, f"{role}_token", None) for role in ("unk", "sep", "eos")}
    names = {role: str(token) for role, token in roles.items() if token}
    try:
        return HuggingFaceTokenizer.from_definition(json.loads(backend.to_str()), names)
    except TokenizerError as error:
        raise TokenizerError(f"cannot use the tokenizer {name!r}: {error}") from error


@lru_cache(maxsize=4)
def _library_tokenizer(definition: str) -> "tokenizers.Tokenizer":
    """Kept, since it takes a second where the vocabulary is large; nobody changes it afterwards."""
    from tokenizers import Tokenizer

    try:
        made = Tokenizer.from_str(definition)
    except Exception as error:  # the library raises nothing narrower
        raise TokenizerError(f"the tokenizers library cannot read it ({error})") from error
    made.encode_special_tokens = True  # a text that says "<|endoftext|>" says these letters
    return made


def _names_beside(path: Path) -> dict[str, str]:
    """Which tokens are reserved, as the files that lie beside a tokenizer.json say."""
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        beside = path.with_name(name)
        if beside.is_file():
            content = json.loads(beside.read_bytes())
            found = {role: content.get(f"{role}_token") for role in ("unk", "sep", "eos")}
            texts = {role: token["content"] if isinstance(token, dict) else token for role, token in found.items()}
            if any(texts.values()):
                return {role: text for role, text in texts.items() if text}
    return {}


def _byte_level_bpe(path: Path, vocabulary: Mapping[str, Any]) -> dict[str, Any]:
    """The definition of a byte-level BPE from its vocabulary and the merges in the file beside it."""
    beside = [path.with_name(merges) for name, merges in VOCABULARIES if name == path.name]
    if not beside or not beside[0].is_file() or not all(isinstance(index, int) for index in vocabulary.values()):
        pairs = " or ".join(f"{vocabulary} with {merges} beside it" for vocabulary, merges in VOCABULARIES)
        raise TokenizerError(f"it is neither a tokenizer.json of TextGym or Hugging Face, nor a {pairs}")
    lines = beside[0].read_text(encoding="utf-8").split("\n")
    merges = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "vocab": dict(vocabulary), "merges": merges}
    return {"version": "1.0", "pre_tokenizer": byte_level, "decoder": byte_level, "model": model}


def _cleaned(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The definition without what adds to, cuts off or varies a text."""
    cleaned: dict[str, Any] = json.loads(json.dumps(definition))
    cleaned.update(truncation=None, padding=None, post_processor=None)
    for name in ("normalizer", "pre_tokenizer", "decoder", "added_tokens"):
        cleaned.setdefault(name, [] if name == "added_tokens" else None)
    cleaned["normalizer"] = _without_prepend(cleaned["normalizer"])
    if isinstance(cleaned.get("model"), dict) and cleaned["model"].get("dropout"):
        cleaned["model"]["dropout"] = None
    for part in _parts(cleaned["pre_tokenizer"]):
        if "add_prefix_space" in part:
            part["add_prefix_space"] = False
        if part.get("type") == "Metaspace":
            part["prepend_scheme"] = "never"
    return cleaned


def _without_prepend(normalizer: Any) -> Any:
    if isinstance(normalizer, dict) and normalizer.get("type") == "Prepend":
        return None
    if isinstance(normalizer, dict) and normalizer.get("type") == "Sequence":
        kept = [part for part in map(_without_prepend, normalizer["normalizers"]) if part is not None]
        return {**normalizer, "normalizers": kept}
    return normalizer


def _parts(step: Any) -> Iterator[dict[str, Any]]:
    """A step and, if it is a sequence, the steps in it."""
    if isinstance(step, dict):
        yield step
        for inner in ("pretokenizers", "decoders", "normalizers"):
            for part in step.get(inner, ()):
                yield from _parts(part)


_HEX_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _piece_bytes(definition: Mapping[str, Any]) -> Any:
    """How a piece of the vocabulary is spelt: in GPT-2's byte alphabet, or with ▁ for a blank, or as it stands."""
    steps = [*_parts(definition["pre_tokenizer"]), *_parts(definition["decoder"]), *_parts(definition["normalizer"])]
    kinds = {step.get("type") for step in steps}
    blanks = "Metaspace" in kinds or any(s.get("type") == "Replace" and s.get("content") in ("▁", " ") for s in steps)
    fallback = bool(definition["model"].get("byte_fallback"))

    def to_bytes(piece: str) -> bytes:
        if "ByteLevel" in kinds and BYTE_OF.keys() >= set(piece):
            return bytes(BYTE_OF[character] for character in piece)
        if fallback and (match := _HEX_BYTE.fullmatch(piece)):
            return bytes([int(match[1], 16)])
        return (piece.replace("▁", " ") if blanks else piece).encode("utf-8", "surrogatepass")

    return to_bytes
