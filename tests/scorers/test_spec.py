"""What is written as a reward: errors point at the place, and everything that may be given is understood."""

import json
from dataclasses import dataclass
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym import scorers as s
from textgym.errors import ScorerError, SpecError, UnknownNameError
from textgym.scorers import catalogue
from textgym.types import Scores


def test_an_unknown_scorer_is_shown_with_what_was_meant():
    with pytest.raises(SpecError) as caught:
        s.parse("0.5*fluencey + coherence")
    assert str(caught.value) == (
        "unknown scorer 'fluencey'\n"
        "    0.5*fluencey + coherence\n"
        "        ^^^^^^^^\n"
        "    Did you mean 'fluency'?  All scorers: textgym list scorers"
    )


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("", "empty", 0),
        ("   ", "empty", 3),
        ("fluency +", "ends where", 9),
        ("fluency + ", "ends where", 10),
        ("* fluency", "expected here, not *", 0),
        ("(fluency", "never closed", 0),
        ("2*(fluency + (length)", "never closed", 2),
        ("repetition(n=2", "never closed", 10),
        ("fluency)", "unexpected ')'", 7),
        ("fluency length", "unexpected 'length'", 8),
        ("2 fluency", "unexpected 'fluency'", 2),
        ("2*3 + fluency", "number times a number", 1),
        ("repetition(m=2)", "no parameter 'm'; it has: n=4", 11),
        ("repetition(n=2, n=3)", "twice", 16),
        ("repetition(2, 3)", "no further argument", 14),
        ("clip(length, low=0, 2)", "without a name", 20),
        ("repetition(n='2')", "n takes a whole number, not '2'", 13),
        ("repetition(n=2.0)", "n takes a whole number, not 2.0", 13),
        ("repetition(n=length)", "n takes a whole number, not length", 13),
        ("repetition(n=true)", "n takes a whole number", 13),
        ("repetition(n=0)", "at least 1", 0),
        ("1 + repetition(n=0)", "at least 1", 4),
        ("fluency(form='max')", "'mean' or 'sum' or 'perplexity'", 13),
        ("fluency(lm=ngram)", "text in quotes", 11),
        ("clip(length, low='a', high=2)", "low takes a finite number or none", 17),
        ("clip(low=1)", "lacks 'of'", 0),
        ("clip(length)", "lower bound", 0),
        ("clip('length', 0, 1)", "of takes a scorer", 5),
        ("repetition(n=2 3)", "a comma or a closing parenthesis", 15),
        ("'fluency'", "expected here", 0),
        ("true", "expected here", 0),
        ("fluency / 2", "unexpected character '/'", 8),
        ("fluency(lm='ngram)", "never closed", 11),
        ("ensemble()", "lacks 'of'; it takes: *of, how='mean'", 0),
        ("2*ensemble(length)", "two scorers or more", 2),
        ("ensemble(length, 2, how='max')", "how takes 'mean' or 'min' or 'median', not 'max'", 24),
        ("ensemble(length, what='min')", "no parameter 'what'; it has: *of, how='mean'", 17),
        ("ensemble(of=length)", "without a name, as ensemble(a, b)", 9),
        ("ensemble(length, 'distinct')", "of takes a scorer, not 'distinct'", 17),
        ("ensemble(how='min', length)", "without a name after one with a name", 20),
        ("ensemble(length, distinct", "never closed", 8),
        ("length*product(2, 3, distinct)", "2*3 is a number times a number", 7),
        ("product(length, distinct, how='mean')", "no parameter 'how'; it has: *of", 26),
        ("1 - gate(length, distinct)", "lacks a bound: say when it is open", 4),
        ("gate(length)", "lacks 'of'", 0),
        ("gate(length, distinct, over=3)", "no parameter 'over'", 23),
        ("1 + gate(length, fluency, above=3)", "fluency has no lowest value", 4),
        ("gate(repetition, length, above=3)", "is never open: repetition lies between 0 and 1", 0),
        ("gate(repetition, length, below=30)", "is always open: repetition lies between 0 and 1", 0),
        ("gate(distinct, length, above=1)", "is never open", 0),
        ("gate(distinct, length, below=0)", "is never open", 0),
        ("gate(length, distinct, above=-1)", "is always open: length lies between 0 and inf", 0),
        ("gate(fluency, distinct, below=0.5)", "is always open: fluency lies between -inf and 0", 0),
        ("gate(length, length, above=3, below=3)", "is never open: no number is above 3 and below 3", 0),
        ("1 - penalty(length)", "lacks a bound: say where it begins to cost", 4),
        ("penalty(length, over=3)", "no parameter 'over'", 16),
        ("penalty(length, above=1, below=3)", "every value is above 1 or below 3", 0),
        ("penalty(length, above=1, weight=0)", "a weight of 0", 0),
        ("penalty(repetition, above=30)", "never costs anything", 0),
        ("1 + lexicographic(distinct, fluency)", "clip(fluency, LOW, HIGH)", 4),
        ("lexicographic(distinct, 1)", "1 is 1 for every text", 0),
        ("lexicographic(distinct, repetition, steps=0)", "at least 1", 0),
        ("lexicographic(distinct, repetition, steps=1.5)", "steps takes a whole number", 42),
        ("rank()", "lacks 'of'", 0),
        ("1e999*length", "too large", 0),
        ("9" * 5000, "too large", 0),
    ],
)
def test_a_wrong_expression_is_underlined_where_it_is_wrong(text, message, column):
    with pytest.raises(SpecError) as caught:
        s.parse(text)
    assert message in str(caught.value).splitlines()[0]
    assert caught.value.column == column


@pytest.mark.parametrize("text", ["(" * 5000 + "length" + ")" * 5000, "-" * 5000 + "length", "clip(" * 5000])
def test_deep_nesting_is_an_error_and_no_crash(text):
    with pytest.raises(SpecError, match="levels"):
        s.parse(text)


def test_a_long_sum_is_an_error_and_no_crash():
    s.parse(" + ".join(["length"] * 50))
    with pytest.raises(SpecError, match="levels"):
        s.parse(" + ".join(["length"] * 5000))


@given(st.text(alphabet="ab(),.=+-*'\"\\ 01e\n#é", max_size=25))
@settings(max_examples=200, deadline=None)
def test_whatever_is_written_is_read_or_refused_with_a_place(text):
    try:
        scorer = s.parse(text)
    except SpecError as error:
        assert 0 <= error.column <= len(text)
    else:
        assert s.parse(str(scorer)) == scorer


def test_a_mapping_says_the_same_as_an_expression():
    given_mapping = {"scorer": "clip", "of": {"scorer": "repetition", "n": 3}, "low": 0, "high": 1}
    assert s.resolve(json.loads(json.dumps(given_mapping))) == s.parse("clip(repetition(n=3), 0, 1)")
    assert s.resolve({"scorer": "standard", "of": "fluency - 1"}) == s.parse("standard(fluency - 1)")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "length"}, "holds the scorer's name"),
        ({"scorer": "lenght"}, "Did you mean 'length'"),
        ({"scorer": "repetition", "m": 2}, "no parameter 'm'"),
        ({"scorer": "repetition", "n": "2"}, "whole number"),
        ({"scorer": "standard"}, "lacks 'of'"),
        (3, "is no reward"),
        (None, "is no reward"),
        ("rewards/mine.py", "names no function"),
    ],
)
def test_what_is_no_reward_is_refused(wrong, message):
    with pytest.raises((ScorerError, UnknownNameError), match=message):
        getattr(s.resolve, "__wrapped__", s.resolve)(wrong)  # without the type checker of the tests


def test_a_scorer_and_its_class_and_its_name_are_understood():
    assert s.resolve(s.length()) == s.resolve(s.length) == s.resolve("length") == s.length()
    assert s.parse(s.parse(s.DEFAULT_REWARD).to_spec()) == s.resolve(s.DEFAULT_REWARD)


# -- the registry


@pytest.fixture
def clean(monkeypatch):
    for name in ("_REGISTERED", "_FUNCTIONS"):
        monkeypatch.setattr(catalogue, name, dict(getattr(catalogue, name)))


def test_a_class_of_ones_own_is_used_by_name(clean):
    @s.register("vowels")
    @dataclass(frozen=True)
    class Vowels(s.Scorer):
        weight: float = 1.0

        def score(self, batch):
            return Scores(np.array([self.weight * sum(map(text.count, "aeiou")) for text in batch.completion_texts]))

    assert s.vowels is Vowels and "vowels" in s.registry() and "vowels" in dir(s)
    scorer = s.parse("vowels(weight=2) - length")
    assert scorer == s.vowels(weight=2) - s.length()
    assert str(scorer) == "vowels(weight=2) - length" == scorer.to_spec()
    assert scorer.score_texts(["a bee"]).tolist() == [4.0]


def test_a_function_of_ones_own_is_used_by_name_and_keeps_being_a_function(clean):
    @s.register("shouting")
    def shouting(text: str, *, mark: str = "!", worth: float = 1.0) -> float:
        """How loud."""
        return worth * text.count(mark)

    assert shouting("a!") == 1
    assert s.parse("shouting(mark='?', worth=2)").score_texts(["a?? b!"]).tolist() == [4.0]
    assert s.resolve(shouting) == s.shouting() == s.parse("shouting")
    assert s.resolve(shouting).to_spec() == "shouting"
    assert s.shouting().signature == "shouting.v1(mark='!', worth=1)"
    with pytest.raises(SpecError, match="mark takes text"):
        s.parse("shouting(mark=3)")


def test_a_class_without_a_name_does_not_serialise():
    @dataclass(frozen=True)
    class Nameless(s.Scorer):
        pass

    with pytest.raises(ScorerError, match=r"@textgym\.scorers\.register"):
        (s.length() + Nameless()).to_spec()


@pytest.mark.parametrize("name", ["fluency", "a b", "none", "True", "1st"])
def test_a_name_that_is_taken_or_cannot_be_written_is_refused(name):
    with pytest.raises(ScorerError, match="register"):
        s.register(name)(lambda text: 0.0)


def test_another_package_brings_a_scorer_by_its_entry_point(clean, monkeypatch, tmp_path):
    (tmp_path / "plugged_in.py").write_text("def shortness(text):\n    return -float(len(text))\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint(name="shortness", value="plugged_in:shortness", group="textgym.scorers")
    monkeypatch.setattr(catalogue, "entry_points", lambda group: [point] if group == "textgym.scorers" else [])
    catalogue._plugins.cache_clear()
    try:
        assert "shortness" in s.scorer_names()
        assert s.parse("shortness").score_texts(["abc"]).tolist() == [-3.0]
    finally:
        catalogue._plugins.cache_clear()


def test_an_unknown_attribute_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Did you mean 'fluency'"):
        _ = s.fluencey


def test_what_can_be_built_can_be_read_back_however_it_nests():
    right, left, called = s.length(), s.length(), s.length()
    for _ in range(48):
        right, left, called = s.length() - right, left * (1 - s.length()), s.clip(called, 0)
    for deep in (right, left, called):
        assert s.parse(str(deep)) == deep
