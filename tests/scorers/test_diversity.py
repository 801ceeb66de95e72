"""Diversity of sets of texts: self-BLEU and compression, which belong to a set and to no text."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu import sentence_bleu
from scorer_fakes import FakeContext

from textgym import scorers as s
from textgym.errors import ScorerError
from textgym.scorers.plain import batch_of_texts
from textgym.scorers.reward import bind_reward

TEXTS = ["the cat sat on the mat today", "the cat sat on the mat", "a dog ran far away from here", "the cat ran"]


def test_self_bleu_is_the_bleu_with_all_others_of_the_prompt():
    batch = batch_of_texts([*TEXTS, "alone here"], ["p"] * 4 + ["q"])
    scores = s.self_bleu().score(batch)
    for i, text in enumerate(TEXTS):
        others = [other for j, other in enumerate(TEXTS) if j != i]
        assert scores.values[i] == pytest.approx(sentence_bleu(text, others, use_effective_order=True).score / 100)
    assert scores.valid.tolist() == [True] * 4 + [False], "a text alone in its set has nobody to be like"


def test_equal_texts_are_as_alike_as_can_be_and_texts_without_a_common_word_as_little():
    alike = s.self_bleu().score_texts(["the cat sat on the mat"] * 3)
    apart = s.self_bleu(n=1).score_texts(["the cat sat", "we all ran", "no more words"])
    assert alike.tolist() == [1.0] * 3 and (apart < 1e-9).all()


def test_all_texts_are_one_set_where_that_is_asked_for():
    batch = batch_of_texts(["the cat sat on it"] * 2, ["p", "q"])
    assert not s.self_bleu().score(batch).valid.any()
    assert s.self_bleu(within="all").score(batch).values.tolist() == [1.0, 1.0]


@given(st.permutations(range(12)), st.integers(1, 11))
@settings(max_examples=30, deadline=None)
def test_which_others_are_chosen_does_not_depend_on_the_order(order, most):
    texts = [f"the {('cat', 'dog', 'mat')[i % 3]} sat {('on', 'in', 'by', 'at')[i % 4]} it" for i in range(11)] + [""]
    scorer = s.self_bleu(n=2, most=most)
    assert scorer.score_texts([texts[i] for i in order]).tolist() == scorer.score_texts(texts)[list(order)].tolist()


def test_compression_counts_bytes_of_the_sorted_texts():
    plain = "\n".join(sorted(TEXTS)).encode()
    values = s.compression_ratio().score_texts(TEXTS)
    assert values.tolist() == [len(plain) / len(zlib.compress(plain, 9))] * 4
    assert s.compression_ratio().score_texts([""]).tolist() == [0.0]


def test_a_set_that_repeats_itself_compresses_better():
    rng = np.random.default_rng(0)
    varied = [" ".join(map(str, rng.integers(1000, size=20))) for _ in range(50)]
    assert s.compression_ratio().score_texts(varied[:1] * 50)[0] > 10 * s.compression_ratio().score_texts(varied)[0]


@pytest.mark.parametrize("scorer", [s.self_bleu(), s.compression_ratio(), s.bleu(corpus=True)])
def test_a_measure_of_sets_is_refused_as_a_reward(scorer):
    with pytest.raises(ScorerError, match="set"):
        bind_reward(scorer, FakeContext())


@pytest.mark.parametrize("wrong", [{"n": 0}, {"most": 0}])
def test_counts_are_at_least_one(wrong):
    with pytest.raises(ScorerError, match="at least 1"):
        s.self_bleu(**wrong)
