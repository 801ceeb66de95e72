"""A vocabulary that was written down: the longest piece that fits, whole words, and the contract of tokenizers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym.testing.tokenizers import check_tokenizer
from textgym.text.pieces import LexiconTokenizer
from textgym.text.tokenizers import load_tokenizer, save_tokenizer, tokenizer_from_json, tokenizer_to_json

ENGLISH = LexiconTokenizer((" the", " end", " .", " knife", " knives", " kitchen", "kitchen"))
CHINESE = LexiconTokenizer(("小刀", "小", "刀", "去了", "去", "。"))
both = pytest.mark.parametrize("tokenizer", [ENGLISH, CHINESE], ids=["English", "Chinese"])


@both
def test_it_keeps_the_contract(tokenizer):
    check_tokenizer(tokenizer, ["kitchen the knife .", "去了小刀。刀", " the  knifed end"])


def test_the_longest_piece_that_fits_is_taken():
    assert [CHINESE.token(i) for i in CHINESE.encode("小刀去了去小。").tolist()] == ["小刀", "去了", "去", "小", "。"]


@pytest.mark.parametrize("text", [" knifed", " thee", " kitchens", "kitchenette"])
def test_a_word_is_not_found_in_a_longer_one(text):
    assert ENGLISH.encode(text).tolist() == [ENGLISH.unk_id], "one word, one token"


def test_a_blank_belongs_to_the_word_behind_it_and_a_word_without_has_an_id_of_its_own():
    first, second = ENGLISH.encode("kitchen kitchen").tolist()
    assert first != second and ENGLISH.decode([first, second]) == "kitchen kitchen"
    assert ENGLISH.encode("the").tolist() == [ENGLISH.unk_id]


@both
def test_it_is_saved_and_loaded_as_what_it_is(tokenizer, tmp_path):
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    for again in (load_tokenizer(tmp_path / "tokenizer.json"), tokenizer_from_json(tokenizer_to_json(tokenizer))):
        assert type(again) is LexiconTokenizer and again.signature == tokenizer.signature
        assert again.encode("小刀 knife").tolist() == tokenizer.encode("小刀 knife").tolist()


@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(3, 9), max_size=20))
def test_the_words_of_a_text_with_blanks_come_back(ids):
    """Whatever the order: every piece but the opening one begins with a blank."""
    ids = [index for index in ids if index < 9]
    assert ENGLISH.encode(ENGLISH.decode(ids)).tolist() == ids


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=30))
def test_what_it_does_not_know_is_unknown_and_nothing_else_is_lost(text):
    text = f" knife{text} end"
    ids = ENGLISH.encode(text)
    assert ids.dtype == np.int32 and len(ids) >= 1
    known = ENGLISH.decode(ids)
    left = iter(text)
    assert all(character in left for character in known)
