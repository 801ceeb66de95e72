"""TER, and BLEU, chrF and TER of a whole corpus, against sacreBLEU itself."""

import numpy as np
import pytest
import sacrebleu

from textgym import scorers as s
from textgym.scorers.plain import batch_of_texts

TEXTS = ["the cat sat on the mat", "a dog ran away", "no reference here", "it is a very cold day"]
REFERENCES = [["the cat is on the mat", "there is a cat"], ["a dog has run far away"], [], ["it is very cold today"]]


@pytest.mark.parametrize(
    ("text", "reference", "expected"),
    [
        ("the cat sat", "the cat sat", 0.0),
        ("The Cat sat", "the cat sat", 0.0),  # case is ignored
        ("the cat", "the cat sat", 1 / 3),  # an insertion
        ("sat the cat", "the cat sat", 1 / 3),  # a shift is one edit
        ("a b c d", "x", 4.0),
        ("", "the cat sat", 1.0),
    ],
)
def test_edits_for_each_word_of_the_reference(text, reference, expected):
    assert s.ter().score_texts([text], references=[[reference]])[0] == pytest.approx(expected)


def test_the_nearest_reference_counts_and_options_reach_the_library():
    assert s.ter().score_texts(["a b"], references=[["x y z", "a b"]])[0] == 0.0
    assert s.ter(lowercase=False).score_texts(["The cat"], references=[["the cat"]])[0] == 0.5
    assert s.ter(punctuation=False).score_texts(["the cat!"], references=[["the, cat."]])[0] == 0.0
    assert s.ter(asian=True).score_texts(["床前光"], references=[["床前明光"]])[0] == 0.25


@pytest.mark.parametrize(
    ("scorer", "metric"),
    [
        (s.bleu(corpus=True), sacrebleu.BLEU()),
        (s.chrf(corpus=True, words=2), sacrebleu.CHRF(word_order=2)),
        (s.ter(corpus=True), sacrebleu.TER()),
    ],
)
def test_a_corpus_is_scored_as_one_and_every_text_gets_the_number(scorer, metric):
    scores = scorer.score(batch_of_texts(TEXTS, references=REFERENCES))
    kept = [0, 1, 3]
    streams = [[REFERENCES[i][0] for i in kept], [[*REFERENCES[i], None][1] for i in kept]]
    expected = metric.corpus_score([TEXTS[i] for i in kept], streams).score / 100
    assert scores.valid.tolist() == [True, True, False, True]
    assert scores.values[kept] == pytest.approx([expected] * 3)
    assert scorer.set_level and not type(scorer)().set_level


def test_without_any_reference_no_corpus_is_scored():
    assert not s.bleu(corpus=True).score(batch_of_texts(TEXTS)).valid.any()


def test_a_perfect_corpus_has_the_ends_of_the_ranges():
    batch = batch_of_texts(TEXTS[:2], references=[[text] for text in TEXTS[:2]])
    ends = [scorer(corpus=True).score(batch).values for scorer in (s.bleu, s.chrf, s.ter)]
    assert np.array(ends).tolist() == [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]
