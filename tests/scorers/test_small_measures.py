"""Measures of one line each: expectation-adjusted distinct, brevity, content words."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scorer_fakes import FakeContext

from textgym import scorers as s
from textgym.envs.taskless import TasklessContext
from textgym.errors import ScorerError, ScoringFailure
from textgym.scorers.function_words import CHINESE, ENGLISH
from textgym.scorers.plain import batch_of_texts


def ead(text, **parameters):
    return float(s.ead(**parameters).score_texts([text])[0])


def test_ead_by_hand():
    # Three distinct of four words, drawn from ten: 3 / (10 (1 - 0.9^4)).
    assert ead("a b a c", vocab_size=10) == pytest.approx(3 / (10 * (1 - 0.9**4)))
    assert ead("a b a b", n=2, vocab_size=10) == pytest.approx(2 / (100 * (1 - 0.99**3)))
    assert ead("", vocab_size=10) == ead("a", n=2, vocab_size=10) == 0.0


@given(st.integers(2, 200), st.integers(1, 400), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_random_text_scores_about_one_whatever_its_length_and_never_leaves_the_range(vocab_size, length, seed):
    words = np.random.default_rng(seed).integers(vocab_size, size=length)
    value = ead(" ".join(map(str, words)), vocab_size=vocab_size)
    assert 0 < value <= s.ead().range[1]
    if length > 20 * vocab_size:
        assert value == pytest.approx(1, abs=0.05)


def test_plain_distinct_falls_with_length_and_ead_does_not():
    words = np.random.default_rng(0).integers(100, size=2000).astype(str)
    texts = [" ".join(words[:50]), " ".join(words)]
    plain, adjusted = s.distinct(n=1).score_texts(texts), s.ead(vocab_size=100).score_texts(texts)
    assert plain[0] > 10 * plain[1] and abs(adjusted[0] - adjusted[1]) < 0.1


def test_the_vocabulary_is_that_of_the_task():
    context = FakeContext()
    bound = s.ead().bind(context).score(context.batch(["the cat sat"])).values[0]
    assert bound == ead("the cat sat", vocab_size=context.tokenizer.vocab_size)


def test_without_a_vocabulary_it_says_what_to_do():
    with pytest.raises(ScorerError, match="needs vocabulary"):
        s.ead().score_texts(["a"])
    with pytest.raises(ScorerError, match="vocab_size=30000"):
        s.ead().bind(TasklessContext())
    with pytest.raises(ScorerError, match="two tokens or more"):
        s.ead(vocab_size=1)
    with pytest.raises(ScoringFailure, match="too small"):
        ead("a b c", vocab_size=2)


@pytest.mark.parametrize(
    ("text", "references", "expected"),
    [
        ("a b c d", ["a b c d"], 1.0),
        ("a b c d e", ["a b"], 1.0),
        ("a b", ["a b c d"], math.exp(1 - 4 / 2)),
        ("a b", ["a b c d", "x"], 1.0),  # two references are equally near: the shorter counts
        ("a b c", ["a b c d", "a b c d e f g"], math.exp(1 - 4 / 3)),
        ("", ["a"], 0.0),
        ("", [""], 1.0),
    ],
)
def test_brevity_by_hand(text, references, expected):
    assert s.brevity().score_texts([text], references=[references])[0] == pytest.approx(expected)


def test_brevity_is_that_of_sacrebleu():
    from sacrebleu.metrics.bleu import BLEU

    text, references = "the cat sat", ["the cat sat on it", "a cat sat there today now"]
    library = BLEU(effective_order=True, force=True).sentence_score(text, references).bp
    assert s.brevity().score_texts([text], references=[references])[0] == pytest.approx(library)


def test_brevity_with_a_target_needs_no_references_and_does_not_count_the_end():
    context = FakeContext()
    values = s.brevity(4).bind(context).score(context.batch(["the cat sat", "the cat sat on the mat"])).values
    assert values == pytest.approx([math.exp(1 - 4 / 3), 1.0])
    assert not s.brevity(4).needs and not s.brevity(4).partial_in(None) and s.brevity().partial_in(None)
    assert np.isnan(s.brevity().score_texts(["a"])[0])
    with pytest.raises(ScorerError, match="at least 1"):
        s.brevity(0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cat sat on the mat.", 3 / 6),
        ("It is what it is", 0.0),
        ("Dogs chase cats", 1.0),
        ("He doesn't know", 1 / 3),
        ("床前明月光", 1.0),
        ("我的书在你那", 1 / 6),
        ("", 0.0),
        ("!?", 0.0),
    ],
)
def test_the_share_of_words_that_mean_something(text, expected):
    assert s.content_words().score_texts([text])[0] == pytest.approx(expected)


def test_the_lists_hold_single_words_as_the_word_rule_makes_them():
    from textgym.text.sentences import words

    assert all(words(word) == [word] for word in ENGLISH | CHINESE)


def test_metadata_and_references_do_not_matter_to_content_words():
    batch = batch_of_texts(["the cat"], ["a prompt"], [["a reference"]], [{"x": 1}])
    assert s.content_words().score(batch).values.tolist() == [0.5]
