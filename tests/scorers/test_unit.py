"""Quantities: which are equal, which are not, and where a unit ends."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgym import scorers as s
from textgym.errors import ScorerError
from textgym.scorers.quantities import quantity_of


@pytest.mark.parametrize(
    ("text", "value", "dimensions"),
    [
        ("1.5 km", 1500, {"m": 1}),
        ("The answer is 1,500 metres.", 1500, {"m": 1}),
        ("36 km/h", 10, {"m": 1, "s": -1}),
        ("10 m s", 10, {"m": 1}),
        ("10 m*s^-1", 10, {"m": 1, "s": -1}),
        ("2 square kilometres", 2_000_000, {"m": 2}),
        ("3 cm^2", Fraction(3, 10_000), {"m": 2}),
        ("3 m³", 3, {"m": 3}),
        ("3 litres", Fraction(3, 1000), {"m": 3}),
        ("5 kilograms per second", 5, {"kg": 1, "s": -1}),
        ("9.81 m/s^2", Fraction(981, 100), {"m": 1, "s": -2}),
        ("2 N", 2, {"kg": 1, "m": 1, "s": -2}),
        ("2 kJ", 2000, {"kg": 1, "m": 2, "s": -2}),
        ("1 mile", Fraction("1609.344"), {"m": 1}),
        ("60 mph", Fraction("26.8224"), {"m": 1, "s": -1}),
        ("1/2 hour", 1800, {"s": 1}),
        ("90 min", 5400, {"s": 1}),
        ("3 m of rope", 3, {"m": 1}),
        ("3 m per week", Fraction(3, 604_800), {"m": 1, "s": -1}),
        ("18 eggs", 18, {}),
        ("18 in total", 18, {}),
        ("5 m/m", 5, {}),
        (r"\boxed{3\text{ km}}", 3000, {"m": 1}),
    ],
)
def test_a_quantity_is_read_in_si_units(text, value, dimensions):
    assert quantity_of(text) == (value, dimensions)


def test_no_number_is_no_quantity():
    assert quantity_of("a few km") is None


def score(text, answer, **parameters):
    return s.unit(**parameters).right(text, [answer])


def test_quantities_are_equal_whatever_their_unit():
    assert score("1.5 km", "1500 m") and score("90 minutes", "1.5 h") and score("1 kN", "1000 kg*m/s^2")
    assert score("36 km/h", "10 m/s") and not score("1.5 km", "1500 s") and not score("1.5 km", "150 m")
    assert score("18 eggs", "18") and not score("18", "18 m") and not score("18 m", "18")


def test_a_tolerance_is_a_share():
    assert not score("1.61 km", "1 mile") and score("1.61 km", "1 mile", tolerance=0.001)
    assert not score("1.62 km", "1 mile", tolerance=0.001)
    with pytest.raises(ScorerError, match="a share of the answer"):
        s.unit(tolerance=1)


def test_a_reference_without_a_number_is_not_applicable():
    values = s.unit().score_texts(["1 m", "x"], references=[["long"], ["1 m"]])
    assert np.array_equal(values, [np.nan, 0], equal_nan=True)


@given(st.integers(1, 10**6), st.sampled_from(["mm", "cm", "m", "km"]), st.sampled_from(["mm", "cm", "m", "km"]))
def test_any_length_equals_itself_in_another_unit(number, one, other):
    factors = {"mm": Fraction(1, 1000), "cm": Fraction(1, 100), "m": Fraction(1), "km": Fraction(1000)}
    converted = number * factors[one] / factors[other]
    assert score(f"{number} {one}", f"{converted.numerator}/{converted.denominator} {other}")
    assert not score(f"{number} {one}", f"{converted.numerator + 1}/{converted.denominator} {other}")
