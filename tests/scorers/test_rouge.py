"""ROUGE by hand, against rouge-score called directly, and against its definition by sets."""

import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym import scorers as s
from textgym.errors import MissingExtraError, ScorerError
from textgym.scorers import overlap
from textgym.scorers.plain import batch_of_texts

rouge_score = pytest.importorskip("rouge_score", reason="ROUGE: pip install 'textgym[rouge]'")

english = st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat", "."]), max_size=9).map(" ".join)
chinese = st.text("床前明月光，。", max_size=9)
orders = st.sampled_from([1, 2, 3, "L"])
measures = st.sampled_from(["f1", "recall", "precision"])


def value(text, *references, **parameters):
    return float(s.rouge(**parameters).score_texts([text], references=[references])[0])


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, 2 * 3 / (6 + 4)),  # the, cat, sat are in both; the second "the" is not
        ({"n": 1, "measure": "recall"}, 3 / 6),
        ({"n": 1, "measure": "precision"}, 3 / 4),
        ({"n": 2}, 2 * 1 / (5 + 3)),  # "the cat"
        ({"n": 3}, 0.0),
        ({"n": "L"}, 2 * 2 / (6 + 4)),  # "the cat" or "the sat": the order counts
        ({"n": "L", "measure": "recall"}, 2 / 6),
        ({"n": "L", "measure": "precision"}, 2 / 4),
    ],
)
def test_rouge_by_hand(parameters, expected):
    assert value("Sat here, the cat!", "the cat sat on the mat", **parameters) == pytest.approx(expected)


def test_each_chinese_character_is_a_word():
    assert value("明月光", "床前明月。", n=1) == pytest.approx(2 * 2 / (3 + 4))
    assert value("明月光", "床前明月。", n=2) == pytest.approx(2 * 1 / (2 + 3))
    assert value("光明", "床前明月光", n="L", measure="precision") == 0.5
    assert value("明月", "明月", tokenize="ascii") == 0.0  # why it is not the default


def test_the_best_reference_counts_for_the_measure_that_is_asked_for():
    references = ("the cat sat on the mat", "cat", "")
    assert value("the cat", *references, measure="recall") == 1.0  # of "cat"
    assert value("the cat", *references, measure="precision") == 1.0  # of the long one


def test_a_text_without_references_is_not_applicable():
    scores = s.rouge().score(batch_of_texts(["a", "a"], references=[[], ["a"]]))
    assert scores.valid.tolist() == [False, True] and scores.values.tolist() == [0.0, 1.0]


@given(text=english, references=st.lists(english, min_size=1, max_size=3), n=orders)
@settings(max_examples=60, deadline=None)
def test_ascii_rouge_is_that_of_the_library(text, references, n):
    from rouge_score.rouge_scorer import RougeScorer

    theirs = RougeScorer([f"rouge{n}"]).score_multi(references, text)[f"rouge{n}"].fmeasure
    assert value(text, *references, n=n, tokenize="ascii") == theirs
    assert value(text, *references, n=n) == theirs  # plain English words are the same under both


@given(text=chinese | english, reference=chinese | english, n=st.integers(1, 3), measure=measures)
@settings(max_examples=60, deadline=None)
def test_rouge_n_is_the_overlap_of_multisets(text, reference, n, measure):
    from textgym.text.sentences import words

    ours, theirs = (
        Counter(tuple(row[i : i + n]) for i in range(len(row) - n + 1)) for row in (words(text), words(reference))
    )
    shared = sum((ours & theirs).values())
    precision, recall = shared / max(sum(ours.values()), 1), shared / max(sum(theirs.values()), 1)
    f1 = 2 * precision * recall / (precision + recall) if shared else 0.0
    expected = {"f1": f1, "recall": recall, "precision": precision}[measure]
    assert value(text, reference, n=n, measure=measure) == pytest.approx(expected)


@given(text=english, references=st.lists(english, min_size=1, max_size=3), more=english, n=orders, measure=measures)
@settings(max_examples=60, deadline=None)
def test_one_more_reference_never_lowers_rouge(text, references, more, n, measure):
    one = value(text, *references, n=n, measure=measure)
    assert one <= value(text, *references, more, n=n, measure=measure) <= 1.0


@pytest.mark.parametrize("wrong", [0, -1, 10, "l", "LSUM", 1.5])
def test_an_order_that_there_is_not_is_refused(wrong):
    with pytest.raises(ScorerError, match=r"from 1 to 9, or is 'L'|takes a whole number or 'L'"):
        s.resolve({"scorer": "rouge", "n": wrong})


def test_without_the_extra_binding_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    overlap._rouge.cache_clear()
    assert s.parse("rouge(n='L') + bleu").to_spec() == "rouge(n='L') + bleu"
    with pytest.raises(MissingExtraError, match=r"pip install 'textgym\[rouge\]'"):
        s.rouge().bind(None)
