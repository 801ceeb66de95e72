"""Expressions: their arithmetic is that of numpy, their text is read back, their binding is fixed once."""

import copy
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from scorer_fakes import REFERENCES, FakeContext

from textgym import scorers as s
from textgym.errors import ScorerError
from textgym.scorers.plain import batch_of_texts

TEXTS = ["a a a a", "a b", "", "the cat. the cat sat. the cat"]


def test_python_operators_and_text_make_the_same_tree():
    written = s.parse("0.7*fluency(lm='ngram:4') + 0.3*coherence() - clip(repetition(n=3), 0, 1)")
    built = 0.7 * s.fluency(lm="ngram:4") + 0.3 * s.coherence() - s.clip(s.repetition(n=3), 0, 1)
    assert built == written
    assert str(built) == "0.7*fluency + 0.3*coherence - clip(repetition(n=3), 0, 1)"


def test_numpy_numbers_are_numbers_and_booleans_and_strings_are_not():
    assert np.float64(2) * s.length() == 2 * s.length()
    assert 1 - s.length() == s.parse("1 - length") and s.length() * 2 != 2 * s.length()
    for wrong in (True, "2", None, [1]):
        with pytest.raises(TypeError):
            s.length() + wrong
    with pytest.raises(ScorerError, match="finite"):
        s.length() * float("nan")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("((length))", "length"),
        ("length()", "length"),
        ("(length + length) + 1", "length + length + 1"),
        ("length + (length + 1)", "length + (length + 1)"),
        ("length-(length-1)", "length - (length - 1)"),
        ("2*(length+1)", "2*(length + 1)"),
        ("(2*length)*3", "2*length*3"),
        ("2*(length*3)", "2*(length*3)"),
        ("-(length+1)", "-(length + 1)"),
        ("-(2*length)", "-(2*length)"),
        ("-2*length", "-2*length"),
        ("length - -2", "length - -2"),
        ("--length", "--length"),
        ("1.50*length + 1e3", "1.5*length + 1000"),
        ("0.1*length + 1e-7", "0.1*length + 1e-07"),
        ("repetition(4)", "repetition"),
        ("clip(of=length, high=2)", "clip(length, high=2)"),
        ("clip(length, none, 2)", "clip(length, high=2)"),
        ('fluency(lm="it\'s")', "fluency(lm='it\\'s')"),
        ("exact_match(ignore_case=True)", "exact_match(ignore_case=true)"),
        (s.DEFAULT_REWARD, s.DEFAULT_REWARD),
    ],
)
def test_the_canonical_text_has_no_needless_mark(text, canonical):
    assert str(s.parse(text)) == canonical


def test_a_signature_holds_the_version_and_every_parameter():
    assert s.repetition().signature == "repetition.v1(n=4)"
    assert s.parse("2*clip(fluency, 0)").signature == (
        "2*clip.v1(of=fluency.v1(lm='ngram:4', form='mean'), low=0, high=none)"
    )


def test_a_leaf_that_occurs_twice_is_scored_once():
    context = FakeContext()
    bound = s.parse("fluency + clip(fluency, -1, 0)*fluency").bind(context)
    bound.score(context.batch(["the cat"]))
    assert context.models["ngram:4"].calls == 1


def test_components_are_raw_and_short_where_the_name_is_enough():
    batch = batch_of_texts(TEXTS)
    scores = s.parse("2*repetition(n=1) - 3*repetition(n=2) + clip(length, 0, 1)").score(batch)
    assert list(scores.components) == ["repetition(n=1)", "repetition(n=2)", "length"]
    np.testing.assert_array_equal(scores.components["length"], s.length().score(batch).values)


def test_what_is_not_applicable_stays_so_until_a_default_is_given():
    batch = batch_of_texts(["a", "b"], references=[["a"], []])
    scores = s.parse("2*exact_match + length").score(batch)
    assert scores.valid.tolist() == [True, False] and scores.values.tolist() == [3, 0]
    assert np.isnan(scores.components["exact_match"][1]) and scores.components["length"][1] == 1
    assert s.parse("2*default(exact_match, 0.5) + length").score(batch).values.tolist() == [3, 2]


def test_standard_is_the_z_score_against_the_references():
    context = FakeContext()
    raw = s.fluency().bind(context).score(context.references()).values
    scores = s.standard(s.fluency()).bind(context).score(context.references())
    np.testing.assert_allclose(scores.values, (raw - raw.mean()) / raw.std())
    assert abs(scores.values.mean()) < 1e-12 and scores.values.std() == pytest.approx(1)


def test_the_moments_of_standard_are_kept_for_each_part_context_and_model():
    context = FakeContext()
    for _ in range(2):
        s.parse("standard(fluency) + 2*standard(fluency)").bind(context)
    assert len(context.made) == 1
    s.standard(s.fluency(form="sum")).bind(context)
    context.models["ngram:4"].signature = "fake:refitted"
    s.standard(s.fluency()).bind(context)
    context.signature = "fake:2"
    s.standard(s.fluency()).bind(context)
    assert len(set(context.made)) == len(context.made) == 4


def test_standard_of_what_never_varies_is_refused():
    context = FakeContext()
    with pytest.raises(ScorerError, match=r"sd 0"):
        s.standard(s.clip(s.length(), 0, 1)).bind(context)
    context.has_references = False
    with pytest.raises(ScorerError, match="not applicable to any reference"):
        s.standard(s.bleu()).bind(context)


def test_standard_leaves_out_references_to_which_its_part_does_not_apply():
    context = FakeContext(empty_prompts=True)
    texts = [context.batch([text], [""]) for text in REFERENCES]
    values = [s.coherence().bind(context).score(batch) for batch in texts]
    defined = np.array([one.values[0] for one in values if one.valid[0]])
    assert 2 < len(defined) < len(REFERENCES)
    context.references = lambda: context.batch(REFERENCES, [""] * len(REFERENCES))
    bound = s.parse("default(standard(coherence), 9)").bind(context)
    expected = [(one.values[0] - defined.mean()) / defined.std() if one.valid[0] else 9 for one in values]
    np.testing.assert_allclose(bound.score(context.references()).values, expected)


def test_ranges_are_those_of_interval_arithmetic():
    assert s.parse(s.DEFAULT_REWARD).range == (-10, 6)
    assert s.parse("-2*repetition + 1").range == (-1, 1)
    assert s.parse("repetition*(2 - distinct)").range == (0, 2)
    assert s.parse("0*fluency").range == (0, 0)
    assert s.parse("default(repetition, -1)").range == (-1, 1)
    assert s.parse("clip(length, high=5)").range == (0, 5)


def test_an_unbound_scorer_says_what_it_needs():
    for text, need in [("fluency", "language model"), ("coherence", "embedding"), ("standard(length)", "calibration")]:
        with pytest.raises(ScorerError, match=rf"needs {need}: bind it"):
            s.parse(text).score(batch_of_texts(["a"]))
    with pytest.raises(ScorerError, match="needs language model"):
        s.parse("fluency - repetition").score_texts(["a"])


def test_an_expression_of_too_many_levels_is_refused():
    deep = s.length()
    with pytest.raises(ScorerError, match="levels"):
        for _ in range(200):
            deep = deep + 1


@dataclass(frozen=True)
class Counted(s.Scorer):
    n: int = 4


@pytest.mark.parametrize("wrong", [{"n": None}, {"n": "3"}, {"n": 2.0}, {"n": True}])
def test_a_parameter_of_another_kind_is_refused(wrong):
    with pytest.raises(ScorerError, match="n"):
        Counted(**wrong)


def test_clip_without_bounds_or_with_crossed_ones_is_refused():
    with pytest.raises(ScorerError, match="lower bound, an upper bound"):
        s.clip(s.length())
    with pytest.raises(ScorerError, match="above the upper"):
        s.clip(s.length(), 2, 1)


def test_scorers_are_immutable_hashable_and_copied_as_themselves():
    scorer = s.parse(s.DEFAULT_REWARD)
    assert copy.deepcopy(scorer) is scorer and copy.deepcopy({"reward": [scorer]})["reward"][0] is scorer
    assert {scorer: 1}[s.parse(s.DEFAULT_REWARD)] == 1
    assert pickle.loads(pickle.dumps(scorer)) == scorer
    with pytest.raises(AttributeError):
        scorer.left = s.length()
