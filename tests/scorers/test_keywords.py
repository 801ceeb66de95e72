"""Coverage of required words: what counts as one, and where they come from."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scorer_fakes import FakeContext

from textgym import scorers as s
from textgym.errors import ScorerError, ScoringFailure
from textgym.scorers.plain import batch_of_texts
from textgym.scorers.reward import bind_reward
from textgym.testing.scorers import check_scorer


def value(words, text):
    return float(s.keywords(words).score_texts([text])[0])


@pytest.mark.parametrize(
    ("words", "text", "expected"),
    [
        ("dog, ball", "The dog saw a ball.", 1),
        ("dog, ball", "The dog slept.", 1 / 2),
        ("dog, ball, cat", "A DOG! A dog!", 1 / 3),
        ("Dog, dog,DOG , ", "dog", 1),  # asked for once
        ("dog", "", 0),
        ("art", "the party started", 0),  # whole words only
        ("art", "art-loving; party", 1),
        ("dog", "two dogs", 0),  # a form is met only by itself
        ("dog", "the dog's ball", 1),
        ("ice cream", "ice\n  cream", 1),
        ("ice cream", "cream, ice", 0),
        ("C++", "in C++ and C", 1),
        ("C++", "in C", 0),
        ("Straße", "STRASSE", 1),
        ("cafe\u0301", "un café", 1),
        ("cafe", "un cafe\u0301", 0),
        ("明月, 故乡", "举头望明月，低头思故国。", 1 / 2),
        ("明月，故乡、床前", "床前明月光", 2 / 3),
        ("明月", "看天明。月亮", 0),
        ("Python", "我用python写诗", 1),
        ("月 光", "月 光", 1),
        ("aa", "aaa aa", 1),  # the first place does not count, the second does
    ],
)
def test_coverage_by_hand(words, text, expected):
    assert value(words, text) == pytest.approx(expected)


@given(
    st.lists(st.sampled_from(["dog", "cat", "red", "ran"]), max_size=8),
    st.lists(st.sampled_from(["dog", "cat", "red", "do", "an"]), min_size=1, max_size=5),
)
@settings(max_examples=60, deadline=None)
def test_coverage_of_plain_words_is_a_ratio_of_sets(text, required):
    expected = len({*text} & {*required}) / len({*required})
    assert value(",".join(required), " ".join(text)) == pytest.approx(expected)


def metadata_batch(*rows, texts=None):
    return batch_of_texts(texts or ["the dog ran"] * len(rows), metadata=list(rows))


def test_the_words_of_a_row_stand_in_its_metadata():
    batch = metadata_batch(
        {"concepts": ["dog", "run"]}, {"concepts": "dog, ran"}, {"concepts": ("cat",)}, {"concepts": ["ran"], "id": 3}
    )
    assert s.keywords().score(batch).values.tolist() == [0.5, 1.0, 0.0, 1.0]
    assert s.keywords(field="id2").score(metadata_batch({"id2": ["dog"]})).values.tolist() == [1.0]


def test_a_row_without_the_field_is_not_applicable():
    scores = s.keywords().score(metadata_batch({}, {"concepts": []}, {"concepts": None}, {"concepts": ["dog"]}))
    assert scores.valid.tolist() == [False, False, False, True] and scores.values.tolist() == [0, 0, 0, 1]
    assert not s.keywords().score(batch_of_texts(["dog"])).valid.any()


@pytest.mark.parametrize("wrong", [3, ["dog", 3], {"dog": 1}])
def test_a_field_that_holds_no_words_is_an_error(wrong):
    with pytest.raises(ScoringFailure, match="keywords are a list of words, or a text with commas"):
        s.keywords().score(metadata_batch({"concepts": wrong}))


class ContextWithConcepts(FakeContext):
    def __init__(self, first, *, others):
        super().__init__()
        self.first, self.others = first, others

    def references(self):
        batch = super().references()
        rows = [self.first, *[self.others] * (len(batch) - 1)]
        return dataclasses.replace(batch, metadata=[{"concepts": concepts} for concepts in rows])


def test_a_reward_is_bound_where_every_row_has_the_words():
    bind_reward("keywords", ContextWithConcepts(["cat"], others="dog, mat"))
    bind_reward("keywords('cat')", FakeContext())
    bind_reward("default(keywords, 0)", FakeContext())
    for context in (FakeContext(), ContextWithConcepts([], others=["cat"]), ContextWithConcepts(["cat"], others=None)):
        with pytest.raises(ScorerError, match=r"default\(keywords, 0\)"):
            bind_reward("keywords", context)


def test_keywords_from_metadata_keep_the_laws():
    batch = metadata_batch({"concepts": ["dog", "明月"]}, {}, {"concepts": "ran"}, texts=["a dog", "明月", "ran. ran"])
    check_scorer(s.keywords(), batches=[batch])
    check_scorer(s.keywords("a, 'quoted', back\\slash"), FakeContext())


@pytest.mark.parametrize(("words", "field"), [("", "concepts"), (" , ", "concepts"), ("dog", "slots")])
def test_no_word_or_two_sources_of_words_are_refused(words, field):
    with pytest.raises(ScorerError, match=r"no word|leave out one"):
        s.keywords(words, field=field)
