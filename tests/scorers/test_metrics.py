"""Metrics with the interface of Hugging Face `evaluate`, played by objects that have it."""

import numpy as np
import pytest

from textgym import scorers as s
from textgym.errors import ScorerError, ScoringFailure
from textgym.scorers.plain import batch_of_texts

BATCH = batch_of_texts(["the cat", "a dog", "x"], references=[["the cat"], ["a cat", "the dog"], []])


class Overlap:
    """Words in common with any reference; what it was given is remembered."""

    name = "overlap"

    def __init__(self, **also):
        self.also, self.given = also, []

    def compute(self, *, predictions=None, references=None, **options):
        self.given.append((predictions, references, options))
        known = " ".join(references[0] if isinstance(references[0], list) else references).split()
        words = predictions[0].split()
        return {"overlap": np.float64(sum(word in known for word in words) / len(words)), **self.also}


def test_a_metric_scores_each_text_with_its_references():
    metric = Overlap()
    scores = s.resolve(metric).score(BATCH)
    assert scores.values.tolist() == [1.0, 1.0, 0.0] and scores.valid.tolist() == [True, True, False]
    assert metric.given == [(["the cat"], ["the cat"], {}), (["a dog"], [["a cat", "the dog"]], {})]


def test_a_metric_takes_part_in_expressions_under_its_name():
    scorer = 2 * s.metric(Overlap()) - s.length()
    assert list(scorer.score(BATCH).components) == ["overlap", "length"]
    assert ".overlap sha=" in scorer.signature
    assert s.metric(Overlap(f1=1.0), key="f1").signature != s.metric(Overlap(f1=1.0)).signature
    with pytest.raises(ScorerError, match="no name that a configuration could hold"):
        scorer.to_spec()


def test_options_reach_the_metric_and_the_key_chooses_the_number():
    metric = Overlap(f1=[0.25], hashcode="x", precision=[0.1, 0.2], ok=True)
    assert s.metric(metric, key="f1", lang="en").score(BATCH).values.tolist() == [0.25, 0.25, 0.0]
    assert metric.given[0][2] == {"lang": "en"}


@pytest.mark.parametrize(
    ("result", "key"),
    [
        ({"a": 1.0, "b": 2.0}, None),
        ({"a": 1.0}, "b"),
        ({"a": "1"}, None),
        ({}, None),
        (1.0, None),
    ],
)
def test_a_result_that_holds_no_clear_number_is_a_failure(result, key):
    class Wrong:
        def compute(self, predictions, references):
            return result

    with pytest.raises(ScoringFailure, match="name one"):
        s.metric(Wrong(), key=key).score(BATCH)


def test_the_only_number_needs_no_key():
    class One:
        def compute(self, predictions, references):
            return {"score": 0.5, "details": "none"}

    assert s.resolve(One()).score(BATCH).values.tolist() == [0.5, 0.5, 0.0]


def test_an_object_that_computes_something_else_is_called_as_a_function():
    class Running:
        def compute(self):
            return 0.0

        def __call__(self, text):
            return len(text)

    assert s.resolve(Running()).score(BATCH).values.tolist() == [7, 5, 1]
