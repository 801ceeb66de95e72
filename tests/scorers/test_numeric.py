"""Numeric answers: what a text says, what equals it, and every answer of GSM8K."""

import itertools
import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgym import scorers as s
from textgym.errors import ScorerError
from textgym.scorers.numerals import answer_of
from textgym.scorers.plain import batch_of_texts

GSM8K = Path(os.environ.get("TEXTGYM_DATA", "data")) / "gsm8k/dev/test.jsonl"


def value(text):
    found = answer_of(text)
    return None if found is None else found.value


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("A: 18", 18),
        ("The answer is 18.", 18),
        ("$1,200.00", 1200),
        ("18 dollars", 18),
        ("1/2", Fraction(1, 2)),
        ("2 1/2", Fraction(5, 2)),
        ("2½ cups", Fraction(5, 2)),
        ("50%", 50),
        ("1.2e3", 1200),
        ("1.2 x 10^3", 1200),
        ("-3", -3),
        ("−3", -3),
        ("-$5", -5),
        ("$-5", -5),
        ("18 km", 18),
        ("18km", 18),
        (".5", Fraction(1, 2)),
        ("US$1,200", 1200),
        ("3 million people", 3_000_000),
        ("It cost 1,200, 1,300 or 14,00", 0),
        ("x = -3", -3),
        ("16-3", 3),
        ("10–20", 20),
        ("５ 个，共１，２００元。", 1200),
        ("3万", 30_000),
        (r"$\frac{3}{4}$", Fraction(3, 4)),
        (r"1{,}200", 1200),
        ("5 m^2", 5),
        ("5 m s^-1", 5),
        ("5 m s^{-2}", 5),
        ("it is x2 of v1.2.3, so 7", 7),
    ],
)
def test_a_number_is_read_as_it_is_written(text, number):
    assert value(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 5.\n#### 18\nIt took 3 steps.", 18),
        ("#### 1\n#### 18", 18),
        ("####\n$18 for 3 people", 18),
        ("####", None),
        ("#### none, since 3 left", 3),
        (r"The answer is 5: \boxed{18 \text{ km}^2}. 7", 18),
        (r"\boxed{\frac{1}{2}} of 7", Fraction(1, 2)),
        ("The answer is 18. I checked 3 times.", 18),
        ("The answer is 18. No, the final answer is: 19 of 20", 19),
        ("**Answer:** $18\nfor 3", 18),
        ("Answer:\n\n18\n3", 18),
        ("The answer to 3 + 4 is 7", 7),
        ("The answer is 16 - 3 = 13.", 13),
        ("The answer is eighteen", None),
        ("答案是１８，共 3 步", 18),
        ("A: 18\nQ: How much are 2 and 3?", 18),
        ("A: Let us see 3 ducks.\nSo there are 18.", 18),
        ("She has 3 ducks. So 4*3=12 eggs in 1 day. Good!", 12),
        ("She has 3 = 1 + 2. In all there are 18.", 18),
        ("16 - 3 - 4 = <<16-3-4=9>>9 duck eggs", 9),
        ("no number", None),
        ("", None),
    ],
)
def test_the_marked_answer_wins_else_the_last_number_counts(text, number):
    assert value(text) == number


@pytest.mark.parametrize("text", ["1e99999", "1e-99999", "1e" + "9" * 500, "9" * 400, "1/0", "1/" + "9" * 400])
def test_what_no_answer_needs_is_no_number(text):
    assert value(text) is None


@pytest.mark.parametrize("text", ["1" * 100_000, "1 " * 50_000, "1," * 50_000, "answer " * 20_000, "=" * 100_000])
def test_long_texts_are_read_in_one_pass(text):
    answer_of(text)


@given(st.integers(-(10**12), 10**12), st.integers(0, 6), st.booleans())
def test_any_decimal_is_read_exactly(digits, places, commas):
    number = Fraction(digits, 10**places)
    sign, whole, part = "-" * (digits < 0), abs(digits) // 10**places, abs(digits) % 10**places
    written = f"{sign}{whole:,}" if commas else f"{sign}{whole}"
    written += f".{part:0{places}d}" if places else ""
    assert value(f"The answer is {written}.") == number
    assert value(f"so ${written} in all") == number


@given(st.text(max_size=60))
def test_no_text_is_an_error(text):
    s.numeric().score_texts([text], references=[["3"]])


def score(text, answer, **parameters):
    verdict = s.numeric(**parameters).right(text, [answer])
    assert verdict is not None
    return int(verdict)


def test_numbers_are_equal_as_fractions_and_near_only_by_tolerance():
    assert score("0.5", "1/2") == 1 and score("2 1/2", "2.50") == 1
    assert score("0.333", "1/3") == 0 and score("0.333", "1/3", tolerance=0.001) == 1
    assert score("18.01", "18", tolerance=0.01) == 1 and score("18.011", "18", tolerance=0.01) == 0


def test_a_percent_sign_is_a_unit_or_a_hundredth():
    assert score("50%", "50") == 1 and score("50%", "0.5") == 0
    assert score("50%", "0.5", percent="hundredth") == 1 and score("50%", "50", percent="hundredth") == 0
    assert score("50 percent", "50%", percent="hundredth") == 1


def test_without_a_number_a_completion_is_wrong_and_a_reference_not_applicable():
    values = s.numeric().score_texts(["none", "18", "18", "18"], references=[["18"], ["none"], [], ["17", "18"]])
    assert np.array_equal(values, [0, np.nan, np.nan, 1], equal_nan=True)


def test_the_answer_may_stand_in_the_metadata_as_a_number_or_a_text():
    metadata = [{"answer": 18}, {"answer": 0.1}, {"answer": "so #### 18"}, {"answer": [1, 18]}, {}]
    batch = batch_of_texts(["18", "1/10", "18", "18", "18"], metadata=metadata)
    scores = s.numeric(field="answer").bind(None).score(batch)
    assert scores.values.tolist() == [1, 1, 1, 1, 0] and scores.valid.tolist() == [True] * 4 + [False]
    assert s.numeric(field="answer").needs == frozenset()


def test_a_tolerance_below_zero_is_refused():
    with pytest.raises(ScorerError, match=r"numeric\(tolerance=-1\): tolerance is a distance"):
        s.numeric(tolerance=-1)


FORMS = [
    "#### {}",
    "{}",
    "A: {}",
    "A: {}\nQ: A boat has 3 decks of 40 seats. How many seats are there?",
    "The answer is {}.",
    "First she adds 3 and 4. The answer is {}. It took 2 steps.",
    "So the final answer is: ${:,}.00",
    r"Hence $x = 12 + 5$ and \boxed{{{}}}, as 1 < 2.",
    "She needs 7 - 2 = 5 boxes.\nIn all that makes {} dollars",
    "That makes {:,} km.",
    "Answer: **{}** units (of 365)",
    "1 + 1 = 2, and x = {}",
    "答案是 {} 个。",
]
"""A known answer as people and models write it."""


def wrong(number):
    """Numbers that are near an answer and are not it."""
    digits = str(abs(number))
    swapped = {int(digits[:i] + digits[i + 1] + digits[i] + digits[i + 2 :]) for i in range(len(digits) - 1)}
    near = {number + 1, number - 1, number * 10, -number, *swapped, *(-n for n in swapped)}
    return sorted(near - {number})


@pytest.mark.skipif(not GSM8K.is_file(), reason="TEXTGYM_DATA holds no gsm8k")
def test_every_answer_of_gsm8k_is_accepted_and_every_perturbed_one_refused():
    solutions = [json.loads(line)["answer"] for line in GSM8K.read_text(encoding="utf-8").splitlines()]
    numbers = [int(solution.rpartition("#### ")[2].replace(",", "")) for solution in solutions]
    assert len(solutions) == 1319
    right, refused = [], []
    for i, (solution, number) in enumerate(zip(solutions, numbers, strict=True)):
        forms = itertools.cycle([*FORMS[i % len(FORMS) :], *FORMS[: i % len(FORMS)]])
        right += [(solution, solution), *((form.format(number), solution) for form in itertools.islice(forms, 5))]
        refused += [(form.format(n), solution) for n, form in zip(wrong(number), forms, strict=False)]
        refused += [(f"{solution.rpartition('####')[0]}#### {number + 1}", solution)]
    verdicts = [[score(*pair) for pair in pairs] for pairs in (right, refused)]
    assert [(len(of), sum(of)) for of in verdicts] == [(7914, 7914), (9409, 0)]
