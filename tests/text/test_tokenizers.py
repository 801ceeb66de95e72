"""Tokenizers: round trips, reserved ids, files, and the same ids everywhere."""

import copy
import json
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym.errors import TokenizerError, UnknownNameError
from textgym.testing.tokenizers import ODD_TEXTS, check_tokenizer
from textgym.text.pieces import WordTokenizer
from textgym.text.reserved import ReservedIds
from textgym.text.tokenizers import (
    BPETokenizer,
    CharTokenizer,
    load_tokenizer,
    save_tokenizer,
    tokenizer_from_json,
    tokenizer_to_json,
    train_tokenizer,
)
from textgym.types import Tokenizer

TEXTS = [
    "The cat sat on the mat. The cat saw the dog, and the dog saw the cat!",
    "There was once a cat. Suddenly it said <eos>, and <sep> too: <eos> <eos>.",
    "明月幾時有？把酒問青天。明月明月。",
]
TRAINED = {kind: train_tokenizer(kind, TEXTS, 320) for kind in ("char", "word", "bpe")}
kinds = pytest.mark.parametrize("kind", list(TRAINED))


@kinds
def test_a_trained_tokenizer_keeps_the_contract(kind: str) -> None:
    assert isinstance(TRAINED[kind], Tokenizer)
    check_tokenizer(TRAINED[kind], TEXTS)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(), max_size=60))
def test_bpe_gives_every_text_back(text: str) -> None:
    tokenizer = TRAINED["bpe"]
    sound = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert tokenizer.decode(tokenizer.encode(text)) == sound


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(), max_size=60))
def test_word_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(WordTokenizer.split(text)) == text


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from(sorted(set("".join(TEXTS)))), max_size=60))
def test_char_gives_back_every_text_of_known_characters(text: str) -> None:
    tokenizer = TRAINED["char"]
    ids = tokenizer.encode(text)
    assert tokenizer.unk_id not in ids and tokenizer.decode(ids) == text


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 10_000), max_size=40), st.sampled_from(list(TRAINED)))
def test_any_ids_of_the_vocabulary_decode(ids: list[int], kind: str) -> None:
    tokenizer = TRAINED[kind]
    row = [index % tokenizer.vocab_size for index in ids]
    assert isinstance(tokenizer.decode(row), str)
    assert tokenizer.decode(row) == tokenizer.decode([index for index in row if index > 2])


def test_word_pieces_by_hand() -> None:
    assert WordTokenizer.split('Hi,  you don\'t "know" 42 cats...\n好的') == [
        *("Hi", ",", " ", " you", " don't", ' "', "know", '"', " 4", "2", " cats", "...", "\n", "好", "的"),
    ]


def test_bpe_learns_the_merges_of_a_hand_computed_case() -> None:
    # "low" x 5, "lower" x 2, "newest" x 6, "widest" x 3 (Sennrich et al. 2016): es, est first, then lo, low.
    words = ["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3
    tokenizer = train_tokenizer("bpe", words, 259 + 4)
    assert isinstance(tokenizer, BPETokenizer)
    assert tokenizer.merges == (("e", "s"), ("es", "t"), ("l", "o"), ("lo", "w"))
    assert [tokenizer.token(index) for index in tokenizer.encode("lowest").tolist()] == ["low", "est"]


def test_bpe_has_the_ids_of_gpt2_on_gpt2s_own_merges(data: Path) -> None:
    merges = (data / "gpt2_bpe" / "vocab.bpe").read_text(encoding="utf-8").split("\n")[1:]
    theirs = json.loads((data / "gpt2_bpe" / "encoder.json").read_text(encoding="utf-8"))
    tokenizer = BPETokenizer(tuple((a, b) for a, b in (line.split(" ") for line in merges if line)))
    assert tokenizer.vocab_size == len(theirs) - 1 + 3  # theirs holds <|endoftext|>
    assert tokenizer.encode("Hello world").tolist() == [theirs["Hello"] + 3, theirs["Ġworld"] + 3]


def test_char_keeps_the_most_frequent_characters_and_marks_the_rest_unknown() -> None:
    tokenizer = train_tokenizer("char", ["aaabbc"], 5)
    assert tokenizer.encode("cab").tolist() == [0, 3, 4]
    assert tokenizer.decode([0, 3, 4]) == "ab"


def test_a_sentence_beginning_is_known_with_and_without_its_blank() -> None:
    tokenizer = train_tokenizer("word", ["It rained. Suddenly it stopped."], 100)
    for text in ("Suddenly it stopped", "It rained. Suddenly"):
        assert tokenizer.unk_id not in tokenizer.encode(text)


@kinds
def test_reserved_names_in_a_text_are_ordinary_characters(kind: str) -> None:
    ids = TRAINED[kind].encode("<sep><eos>")
    assert len(ids) and not np.isin(ids, [1, 2]).any()
    if kind != "word":
        assert TRAINED[kind].decode(ids) == "<sep><eos>"


def test_auto_is_char_for_chinese_and_bpe_for_english() -> None:
    assert train_tokenizer("auto", TEXTS[2:], 320).kind == "char"
    assert train_tokenizer("auto", TEXTS[:2], 320).kind == "bpe"


@pytest.mark.parametrize(("kind", "size", "least"), [("bpe", 258, "259"), ("char", 3, "4"), ("word", 0, "4")])
def test_a_vocabulary_that_is_too_small_says_the_least(kind: str, size: int, least: str) -> None:
    with pytest.raises(TokenizerError, match=f"at least {least}"):
        train_tokenizer(kind, TEXTS, size)
    assert train_tokenizer(kind, TEXTS, int(least)).vocab_size == int(least)


def test_nothing_to_train_on_and_unknown_kinds_are_errors() -> None:
    for texts in ([], ["", ""]):
        with pytest.raises(TokenizerError, match="without a single character"):
            train_tokenizer("bpe", texts, 300)
    with pytest.raises(UnknownNameError, match="Did you mean 'char'"):
        train_tokenizer("chars", TEXTS, 300)


@kinds
def test_training_does_not_depend_on_the_order_of_the_texts_or_the_process(kind: str) -> None:
    texts = [f"{word} {other}" for word in TEXTS[0].split() for other in TEXTS[1].split()]
    signature = train_tokenizer(kind, texts, 300).signature
    shuffled = random.Random(0).sample(texts, len(texts))
    assert train_tokenizer(kind, shuffled, 300).signature == signature
    code = (
        "import sys, json; from textgym.text.tokenizers import train_tokenizer\n"
        f"print(train_tokenizer({kind!r}, json.loads(sys.stdin.read()), 300).signature)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps(texts), capture_output=True, text=True)
    assert done.stdout.strip() == signature, done.stderr


@kinds
def test_a_tokenizer_survives_its_file_and_a_pickle_and_is_not_copied(kind: str, tmp_path: Path) -> None:
    tokenizer = TRAINED[kind]
    save_tokenizer(tokenizer, tmp_path / "new" / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "new" / "tokenizer.json")
    for other in (loaded, pickle.loads(pickle.dumps(tokenizer))):
        assert other == tokenizer and hash(other) == hash(tokenizer) and other is not tokenizer
        for text in (*TEXTS, *ODD_TEXTS):
            assert np.array_equal(other.encode(text), tokenizer.encode(text))
    assert copy.deepcopy(tokenizer) is tokenizer is copy.copy(tokenizer)
    with pytest.raises(AttributeError):
        tokenizer.unk_id = 5


def test_tokenizers_are_equal_iff_their_content_is() -> None:
    assert CharTokenizer(("a", "b")) == CharTokenizer(("a", "b"))
    assert len({CharTokenizer(("a", "b")), CharTokenizer(("b", "a")), WordTokenizer(("a", "b"))}) == 3
    assert CharTokenizer(("a", "b")).signature.startswith("char:5:")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("{", "cut short"),
        ("[]", "no tokenizer of TextGym"),
        ('{"model": {"type": "BPE"}}', "no tokenizer of TextGym"),
        ('{"textgym": "tokenizer", "version": 9, "kind": "char", "pieces": ["a"]}', "version is 9"),
        ('{"textgym": "tokenizer", "version": 1, "kind": "byte"}', "kind is 'byte'"),
        ('{"textgym": "tokenizer", "version": 1, "kind": "char"}', "no list of strings"),
        ('{"textgym": "tokenizer", "version": 1, "kind": "char", "pieces": ["ab"]}', "single characters"),
        ('{"textgym": "tokenizer", "version": 1, "kind": "word", "pieces": ["ab", "ab"]}', "distinct"),
        ('{"textgym": "tokenizer", "version": 1, "kind": "bpe", "merges": [["a"]]}', "no list of pairs"),
        ('{"textgym": "tokenizer", "version": 1, "kind": "bpe", "merges": [["ab", "c"]]}', "earlier tokens"),
    ],
)
def test_files_that_are_no_tokenizer_say_so_and_name_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(text)
    with pytest.raises(TokenizerError, match=message) as caught:
        load_tokenizer(path)
    assert str(path) in str(caught.value)


def test_missing_binary_and_truncated_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="cannot read"):
        load_tokenizer(tmp_path / "none.json")
    with pytest.raises(TokenizerError, match="cannot read"):
        load_tokenizer(tmp_path)
    path = tmp_path / "binary.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TokenizerError, match="UTF-8"):
        load_tokenizer(path)
    whole = tokenizer_to_json(TRAINED["bpe"])
    for end in range(0, len(whole), 97):
        with pytest.raises(TokenizerError):
            tokenizer_from_json(whole[:end])


@pytest.mark.parametrize("ids", [[-1], [3, 100_000], np.array([3, -1], np.int32)])
def test_ids_outside_the_vocabulary_are_an_error_that_says_the_range(ids) -> None:
    with pytest.raises(TokenizerError, match="run from 0 to"):
        TRAINED["char"].decode(ids)


def test_tokens_are_shown_so_that_a_person_can_tell_them_apart() -> None:
    tokenizer = TRAINED["bpe"]
    assert [tokenizer.token(index) for index in range(3)] == ["<unk>", "<sep>", "<eos>"]
    assert tokenizer.token(int(tokenizer.encode("\n")[0])) == "⏎"
    assert tokenizer.token(int(tokenizer.encode(" the cat")[0])).startswith("␣")
    shown = [tokenizer.token(index) for index in tokenizer.encode("鑫").tolist()]
    assert shown == ["<0xE9>", "<0x91>", "<0xAB>"]


class _Broken(CharTokenizer):
    """A tokenizer with one fault, by name."""

    fault = ""

    def encode(self, text: str) -> np.ndarray:
        ids = super().encode(text)
        if self.fault == "dtype":
            return ids.astype(np.int64)
        if self.fault == "eos":
            return np.append(ids, np.int32(2))
        if self.fault == "lossy":
            return ids[ids != 3]
        return ids

    def decode(self, ids) -> str:
        if self.fault == "lenient":
            return super().decode([int(index) for index in ids if 0 <= index < self.vocab_size])
        if self.fault == "strip":
            return super().decode(ids).strip()
        return "<eos>" + super().decode(ids) if self.fault == "trace" else super().decode(ids)


@pytest.mark.parametrize("fault", ["dtype", "eos", "lossy", "lenient", "strip", "trace"])
def test_the_conformance_check_finds_each_fault(fault: str) -> None:
    broken = type("Broken", (_Broken,), {"fault": fault})(tuple(sorted(set("".join(TEXTS)))))
    assert isinstance(broken, ReservedIds)
    with pytest.raises(AssertionError):
        check_tokenizer(broken, TEXTS)
