"""Rewards move from one tokenizer's tokens to another's, and their sum stays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgym.interop.spans import move, token_spans
from textgym.scorers.plain import OpenVocabulary
from textgym.text.tokenizers import train_tokenizer


def test_a_reward_is_shared_by_the_characters_that_each_token_holds():
    #  "abcdef": abc | def  ->  ab | cd | ef
    assert move([3.0, 1.5], [(0, 3), (3, 6)], [(0, 2), (2, 4), (4, 6)]) == pytest.approx([2.0, 1.5, 1.0])


def test_a_reward_without_characters_goes_to_the_last_token():
    assert move([1.0, 5.0], [(0, 2), (2, 2)], [(0, 1), (1, 2), (2, 2)]) == [0.5, 0.5, 5.0]
    assert move([5.0], [(2, 2)], [(0, 1), (1, 2)]) == [0.0, 5.0]


def test_characters_that_no_token_holds_pay_the_next_one():
    assert move([2.0, 3.0], [(0, 1), (3, 4)], [(1, 2), (2, 3)]) == [2.0, 3.0]


def test_rewards_need_a_token():
    with pytest.raises(ValueError, match="no token to give them to"):
        move([1.0], [(0, 1)], [])
    with pytest.raises(ValueError, match="shorter"):
        move([1.0, 2.0], [(0, 1)], [(0, 1)])


def cuts(draw, length):
    """Spans that cover a text, some of them empty."""
    places = sorted(draw(st.lists(st.integers(0, length), max_size=6)))
    return list(zip([0, *places], [*places, length], strict=True))


@st.composite
def moves(draw):
    length = draw(st.integers(0, 12))
    spans, targets = cuts(draw, length), cuts(draw, length)
    rewards = draw(st.lists(st.floats(-100, 100), min_size=len(spans), max_size=len(spans)))
    return rewards, spans, targets


@given(moves())
def test_sums_stay(case):
    rewards, spans, targets = case
    moved = move(rewards, spans, targets)
    assert len(moved) == len(targets)
    assert abs(sum(moved) - sum(rewards)) <= 1e-12 * max(1.0, sum(map(abs, rewards)))


@given(moves())
def test_to_the_same_tokens_nothing_moves(case):
    rewards, spans, _ = case
    held = [reward if end > start else 0.0 for reward, (start, end) in zip(rewards, spans, strict=True)]
    held[-1] += sum(reward for reward, (start, end) in zip(rewards, spans, strict=True) if end <= start)
    assert move(rewards, spans, spans) == pytest.approx(held)


TEXT = "The old king saw the river at night. The king, alone, cried: naïve 王 🙂!"


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_spans_follow_each_other_and_cover_the_text(kind):
    tokenizer = train_tokenizer(kind, [TEXT] * 3, 300)
    ids = tokenizer.encode(TEXT)
    spans = token_spans(tokenizer.decode, ids, TEXT)
    assert len(spans) == len(ids)
    assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]
    assert spans[-1][1] == len(TEXT)
    whole = [token for token, (start, end) in zip(ids, spans, strict=True) if end > start]
    shown = [TEXT[start:end] for start, end in spans if end > start]
    alone = [tokenizer.decode([int(token)]) for token in whole]
    same = sum(a.strip() == b.strip() for a, b in zip(shown, alone, strict=True))
    assert same >= len(whole) - 8  # the others are parts of a character


def test_spans_of_words_hold_their_blanks():
    tokenizer = OpenVocabulary(["a bc  d"])
    assert token_spans(tokenizer.decode, tokenizer.encode("a bc  d"), "a bc  d") == [(0, 1), (1, 4), (4, 6), (6, 7)]


def test_spans_in_a_text_that_was_written_otherwise():
    tokenizer = OpenVocabulary([" the end ."])
    spans = token_spans(tokenizer.decode, tokenizer.encode(" the end ."), "the end.")
    assert [("the end.")[start:end] for start, end in spans] == ["", "the", " end", "."]


def test_no_tokens_have_no_spans():
    assert token_spans(OpenVocabulary([]).decode, np.empty(0, np.int32), "") == []
