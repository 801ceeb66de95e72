"""Patterns: what matches, what never ends, what cannot be read."""

import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym import scorers as s
from textgym.errors import ScorerError, ScoringFailure, SpecError
from textgym.scorers.plain import batch_of_texts
from textgym.scorers.reward import Reward

ENDLESS = [r"(x|xx)+$", r"(?:x|xx)*[A-Z]"]
LATE = "x" * 60 + "!"


def values(pattern, *texts, **parameters):
    return s.regex(pattern, **parameters).score_texts(list(texts)).tolist()


def test_a_completion_matches_anywhere_or_as_a_whole():
    texts = ["12", "it is 12", " 12", "twelve", ""]
    assert values(r"\d+", *texts) == [1, 1, 1, 0, 0]
    assert values(r"\d+", *texts, match="full") == [1, 0, 0, 0, 0]
    assert values("", *texts, match="full") == [0, 0, 0, 0, 1]
    assert values(r"(?i)^IT\b", *texts) == [0, 1, 0, 0, 0]
    assert values(r"(?s)a.b", "a\nb") == [1] and values("a.b", "a\nb") == [0]
    assert values(r"\p{Han}{2}", "明月", "a明") == [1, 0]


SIMPLE = st.text(alphabet=r"ab1 .*+?|()[]\d^$'", max_size=8)


@given(pattern=SIMPLE, text=st.text(alphabet="ab1 '", max_size=8), match=st.sampled_from(["search", "full"]))
@settings(max_examples=200, deadline=None)
def test_a_plain_pattern_means_what_it_means_to_re(pattern, text, match):
    try:
        compiled = re.compile(pattern)
        scorer = s.regex(pattern, match=match)
    except (re.error, ScorerError, FutureWarning):
        return
    expected = (compiled.fullmatch if match == "full" else compiled.search)(text) is not None
    assert scorer.score_texts([text]).tolist() == [expected]


@given(st.text(alphabet="ab'\"\\\n\t{}().,=é月", max_size=12).map(re.escape) | SIMPLE)
@settings(max_examples=200, deadline=None)
def test_quotes_and_backslashes_survive_the_text_form(pattern):
    try:
        scorer = s.regex(pattern, match="full")
    except ScorerError:
        return
    again = s.parse(f"2*{scorer} - length")
    assert again == 2 * scorer - s.length()
    assert s.parse(scorer.to_spec()).pattern == pattern


def test_a_backslash_before_a_letter_that_it_does_not_change_may_stand_alone():
    assert s.parse(r"regex('\d+\.\w')").pattern == r"\d+\.\w" == s.parse(r"regex('\\d+\\.\\w')").pattern
    assert s.parse(r"regex('it\'s \"so\"')").pattern == 'it\'s "so"'


@pytest.mark.parametrize("pattern", ENDLESS)
def test_a_pattern_without_end_is_an_error_in_time_and_never_a_zero(pattern):
    begun = time.perf_counter()
    with pytest.raises(ScoringFailure) as caught:
        s.regex(pattern, timeout=0.05).score_texts(["fine", LATE])
    assert time.perf_counter() - begun < 5
    assert repr(pattern) in str(caught.value) and repr(LATE) in str(caught.value) and "0.05 s" in str(caught.value)


def test_a_reward_names_the_row_of_a_pattern_without_end():
    reward = Reward(s.regex(ENDLESS[0], timeout=0.05).bind(None))
    with pytest.raises(ScoringFailure, match=r"(?s)scorer 'regex' failed on row 1 of 2.*\(x\|xx\)\+\$.*completion"):
        reward.score(batch_of_texts(["fine", LATE]))
    assert reward.mask(batch_of_texts(["fine", LATE])).valid.tolist() == [True, False]


def test_a_long_text_is_shortened_in_the_message():
    with pytest.raises(ScoringFailure) as caught:
        s.regex(ENDLESS[0], timeout=0.05).score_texts(["x" * 5000 + "!"])
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(a", "missing ) at position 2"),
        ("ab[c", "unterminated character set at position 4"),
        ("*a", "nothing to repeat at position 0"),
        ("a\\", "bad escape (end of pattern) at position 2"),
        ("(?P=x)", "unknown group at position 3"),
    ],
)
def test_a_pattern_that_cannot_be_read_is_refused_at_once_with_the_place(pattern, reason):
    with pytest.raises(ScorerError) as caught:
        s.regex(pattern)
    assert str(caught.value) == f"regex: {reason} of the pattern {pattern!r}"
    with pytest.raises(SpecError) as in_expression:
        s.parse("1 - " + s.regex("PATTERN").to_spec().replace("PATTERN", pattern.replace("\\", "\\\\")))
    assert reason in str(in_expression.value) and in_expression.value.column == 4


def test_a_pattern_that_is_too_deep_is_refused():
    with pytest.raises(ScorerError, match="too deep or too large"):
        s.regex("(" * 5000 + ")" * 5000)


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_text_is_given_some_time(timeout):
    with pytest.raises(ScorerError, match="more than 0 seconds"):
        s.regex("a", timeout=timeout)


def test_values_are_zeros_and_ones_of_the_reward_type():
    scores = s.regex("a").score(batch_of_texts(["a", "b"]))
    assert scores.values.dtype == np.float64 and scores.valid.all() and scores.tokens is None
