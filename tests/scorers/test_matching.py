"""Exact match and F1 as SQuAD has them, and letters of multiple choice."""

import re
import string
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgym import scorers as s
from textgym.errors import ScorerError
from textgym.scorers.multiple_choice import chosen
from textgym.scorers.plain import batch_of_texts


def one(scorer, text, *references):
    return float(scorer.score_texts([text], references=[list(references)])[0])


def test_articles_are_left_out_where_asked():
    squad = s.exact_match(ignore_case=True, ignore_punctuation=True, ignore_articles=True)
    assert one(squad, "The cat, in a hat.", "cat in hat") == 1
    assert one(s.exact_match(), "the cat", "cat") == 0
    assert one(squad, "theatre", "atre") == 0, "only whole words are articles"


@pytest.mark.parametrize(
    ("text", "references", "f1"),
    [
        ("the cat sat", ["cat sat"], 1),
        ("cat sat down", ["cat sat"], 0.8),
        ("cat cat", ["cat"], 2 / 3),
        ("dog", ["cat", "a dog!"], 1),
        ("dog", ["cat"], 0),
        ("", ["the"], 1),
        ("", ["cat"], 0),
        ("明月光", ["明月"], 0.8),
    ],
)
def test_f1_counts_common_words(text, references, f1):
    assert one(s.f1(), text, *references) == pytest.approx(f1)


words = st.lists(st.sampled_from(["the", "a", "An", "cat", "Dog!", "it's", "x-y", "3.5", "$"]), max_size=6).map(
    " ".join
)


@given(words, words)
def test_f1_is_that_of_the_evaluation_script_of_squad(text, reference):
    def normalised(answer):
        lowered = "".join(c for c in answer.lower() if c not in set(string.punctuation))
        return re.sub(r"\b(a|an|the)\b", " ", lowered).split()

    said, due = normalised(text), normalised(reference)
    same = sum((Counter(said) & Counter(due)).values())
    if not said or not due:
        expected = float(said == due)
    elif same == 0:
        expected = 0.0
    else:
        precision, recall = same / len(said), same / len(due)
        expected = 2 * precision * recall / (precision + recall)
    assert one(s.f1(), text, reference) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("(B)", "B"),
        ("**B**", "B"),
        ("B. Paris", "B"),
        ("B) Paris", "B"),
        ("（Ｂ）", "B"),
        ("The answer is B.", "B"),
        ("The answer is (B) because A is wrong.", "B"),
        ("**Answer:** B", "B"),
        ("The answer is A. No: the final answer is C", "C"),
        ("Both (A) and (B) seem right, yet (D)", "D"),
        (r"so \boxed{C}, not (D)", "C"),
        (r"\boxed{\text{C}}", "C"),
        ("The answer is (A).\n#### D", "D"),
        ("答案是 B。", "B"),
        ("A dog", ""),
        ("A's turn", ""),
        ("the answer is Amsterdam", ""),
        ("(F)", ""),
        ("b", ""),
        ("", ""),
    ],
)
def test_a_text_chooses_the_letter_that_it_marks(text, letter):
    assert chosen(text, "ABCDE") == letter


def test_choice_compares_letters_and_needs_one_in_the_reference():
    values = s.choice().score_texts(["(B)", "C.", "dunno", "B"], references=[["B. Paris"], ["B"], ["B"], ["Paris"]])
    assert np.array_equal(values, [1, 0, 0, np.nan], equal_nan=True)
    batch = batch_of_texts(["F", "A"], metadata=[{"answer": "F"}, {"answer": "B"}])
    assert s.choice(field="answer", letters="ABCDEF").bind(None).score(batch).values.tolist() == [1, 0]


@pytest.mark.parametrize("letters", ["", "A", "ab", "A]"])
def test_letters_are_capitals(letters):
    with pytest.raises(ScorerError, match="letters are two or more capitals"):
        s.choice(letters=letters)
