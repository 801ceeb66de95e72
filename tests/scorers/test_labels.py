"""Classes by name and relevance, on hand-made models."""

import numpy as np
import pytest
from scorer_fakes import FakeClassifier, FakeContext

from textgym.errors import ScorerError, ScoringFailure
from textgym.scorers import parse
from textgym.types import TextClassifier


@pytest.fixture
def context():
    return FakeContext()


def test_the_named_class_is_scored_in_each_form(context):
    batch = context.batch(["the cat", "dog"])  # vowels a e o, one of each given: 2 2 1 and 1 1 2
    share = np.array([1 / 5, 2 / 4])
    for form, expected in (
        ("probability", share),
        ("logprob", np.log(share)),
        ("logit", np.log(share / (1 - share))),
    ):
        scorer = parse(f"toxicity(model='fake', form='{form}')")
        assert scorer.bind(context).score(batch).values == pytest.approx(expected)
        low, high = scorer.range
        assert low <= expected.min()
        assert expected.max() <= high


def test_case_matters_only_where_two_labels_differ_by_it(context):
    batch = context.batch(["dog"])
    assert parse("sentiment(model='fake')").bind(context).score(batch).values == pytest.approx([1 / 4])
    context.text_models[TextClassifier, "fake"].labels = ("positive", "Positive", "toxic")
    assert parse("sentiment(model='fake')").bind(context).score(batch).values == pytest.approx([1 / 4])
    with pytest.raises(ScorerError, match="no label 'POSITIVE'"):
        parse("sentiment(model='fake', label='POSITIVE')").bind(context)


def test_higher_is_worse_of_toxicity_alone():
    assert not parse("toxicity(model='fake')").higher_is_better
    assert parse("acceptability(model='fake')").higher_is_better


def test_a_table_of_another_shape_is_a_failure(context):
    class Wide(FakeClassifier):
        def logprobs(self, texts):
            return np.zeros((len(texts), 4))

    context.text_models[TextClassifier, "fake"] = Wide()
    with pytest.raises(ScoringFailure, match=r"shape \(1, 4\) for \(1, 3\)"):
        parse("toxicity(model='fake')").bind(context).score(context.batch(["a"]))


def test_an_impossible_class_has_finite_scores(context):
    class Sure(FakeClassifier):
        def logprobs(self, texts):
            return np.array([[0.0, -np.inf, -np.inf]] * len(texts))

    context.text_models[TextClassifier, "fake"] = Sure()
    for spec in ("toxicity(model='fake', form='logit')", "acceptability(model='fake', form='logit')"):
        assert np.isfinite(parse(spec).bind(context).score(context.batch(["a"])).values).all()


def test_relevance_is_the_cosine_of_prompt_and_completion(context):
    batch = context.batch(["cat", "dog", "ran cat", "zebra", ""], ["cat", "cat", "mat", "cat", "dog"])
    scores = parse("relevance").bind(context).score(batch)
    # cat (1, 0), dog (0, 1), mat (1, 1), ran (-1, 2)
    assert scores.values == pytest.approx([1.0, 0.0, 2 / np.sqrt(2 * 4), 0.0, 0.0])
    assert scores.valid.all()
    assert not parse("relevance").bind(context).score(context.batch(["cat"], [""])).valid.any()


def test_values_are_reported_under_the_name_of_the_scorer_not_of_the_class(context):
    scores = parse("toxicity(model='fake') - sentiment").bind(context).score(context.batch(["good"]))
    assert set(scores.components) == {"toxicity", "sentiment"}
