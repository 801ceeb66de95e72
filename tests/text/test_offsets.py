"""Tokens of one tokenizer on those of another, by the characters they end at."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgym.scorers.plain import OpenVocabulary
from textgym.testing.tokenizers import ODD_TEXTS
from textgym.text.offsets import moved, token_ends
from textgym.text.tokenizers import train_tokenizer

TEXTS = ["The cat sat on the mat.", "a dog ran. 床前明月光 👩‍🔬 é", "  two  blanks and\nlines "]
TOKENIZERS = {
    kind: train_tokenizer(kind, [text * 20 for text in TEXTS], {"char": 60, "bpe": 300, "word": 40}[kind])
    for kind in ("char", "bpe", "word")
}
TOKENIZERS["open"] = OpenVocabulary([*TEXTS, *ODD_TEXTS])


def reference_ends(tokenizer, ids):
    """The length of each prefix, read anew."""
    return [len(tokenizer.decode(ids[: n + 1])) for n in range(len(ids))]


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("text", [*TEXTS, *ODD_TEXTS])
def test_tokens_end_where_the_text_of_the_prefix_does(kind, text):
    tokenizer = TOKENIZERS[kind]
    ids = tokenizer.encode(text)
    text = tokenizer.decode(ids)
    ends = token_ends(tokenizer, ids, text)
    expected = reference_ends(tokenizer, ids)
    assert ends.shape == (len(ids),)
    assert (np.diff(ends) >= 0).all()
    if "\ufffd" not in "".join(tokenizer.decode(ids[: n + 1]) for n in range(len(ids))):  # no character is cut
        assert ends.tolist() == expected


def test_a_blank_between_two_words_belongs_to_the_second():
    tokenizer = OpenVocabulary(["the old cat"])
    assert token_ends(tokenizer, tokenizer.encode("the old cat"), "the old cat").tolist() == [3, 7, 11]


def test_the_bytes_of_a_character_end_where_it_does():
    tokenizer = TOKENIZERS["bpe"]
    ids = tokenizer.encode("x🦊y")  # the fox is in none of these texts: several tokens
    assert len(ids) > 3
    assert token_ends(tokenizer, ids, "x🦊y").tolist() == [1, *[2] * (len(ids) - 2), 3]


def test_the_end_of_text_ends_one_place_behind_it():
    tokenizer = TOKENIZERS["char"]
    ids = np.array([*tokenizer.encode("cat"), tokenizer.eos_id], dtype=np.int32)
    assert token_ends(tokenizer, ids, "cat").tolist() == [1, 2, 3, 4]
    assert token_ends(tokenizer, ids[-1:], "").tolist() == [1]


@given(st.data())
def test_the_total_stays(data):
    length = data.draw(st.integers(1, 20))
    cuts = st.lists(st.integers(1, length), min_size=1, max_size=8)
    ends, onto = (np.array(sorted([*data.draw(cuts), length]), dtype=np.int64) for _ in range(2))
    values = np.arange(1.0, len(ends) + 1)
    found = moved(values, ends, onto)
    assert found.shape == onto.shape
    assert found.sum() == pytest.approx(values.sum())
    assert moved(values, ends, np.arange(1, length + 1)).nonzero()[0].tolist() == sorted({end - 1 for end in ends})
