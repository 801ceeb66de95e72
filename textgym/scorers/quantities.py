"""Quantities: whether a completion comes to the number and unit of its reference, as in 1.5 km = 1500 m.

Units are the SI's with its prefixes, by symbol or by English name, those of time, litres, and the common ones of the
British system as the international agreement of 1959 fixed them. Temperatures other than kelvin are left out, since
their zeros differ, and so are months and years, whose lengths do; the symbol "in" is a word before it is an inch.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from textgym.errors import ScorerError
from textgym.scorers.answers import AnswerScorer
from textgym.scorers.base import register
from textgym.scorers.numerals import answer_of

Dimensions = Mapping[str, int]
"""Base units and their powers, e.g. {"m": 1, "s": -1}; empty for a plain number."""

_PREFIXES = {
    "n": ("nano", -9),
    "µ": ("micro", -6),
    "u": ("micro", -6),
    "m": ("milli", -3),
    "c": ("centi", -2),
    "d": ("deci", -1),
    "": ("", 0),
    "h": ("hecto", 2),
    "k": ("kilo", 3),
    "M": ("mega", 6),
    "G": ("giga", 9),
    "T": ("tera", 12),
}
_SI = {
    "m": ("metre meter", "1", "m"),
    "g": ("gram gramme", "0.001", "kg"),
    "s": ("second sec", "1", "s"),
    "A": ("ampere amp", "1", "A"),
    "K": ("kelvin", "1", "K"),
    "mol": ("mole", "1", "mol"),
    "l": ("litre liter", "0.001", "m m m"),
    "L": ("", "0.001", "m m m"),
    "Hz": ("hertz", "1", "-s"),
    "N": ("newton", "1", "kg m -s -s"),
    "Pa": ("pascal", "1", "kg -m -s -s"),
    "J": ("joule", "1", "kg m m -s -s"),
    "W": ("watt", "1", "kg m m -s -s -s"),
    "V": ("volt", "1", "kg m m -s -s -s -A"),
}
_OTHERS = {
    "min minute": ("60", "s"),
    "h hr hour": ("3600", "s"),
    "day": ("86400", "s"),
    "week": ("604800", "s"),
    "t tonne": ("1000", "kg"),
    "ha hectare": ("10000", "m m"),
    "inch inches": ("0.0254", "m"),
    "ft foot feet": ("0.3048", "m"),
    "yd yard": ("0.9144", "m"),
    "mi mile": ("1609.344", "m"),
    "mph": ("0.44704", "m -s"),
    "oz ounce": ("0.028349523125", "kg"),
    "lb lbs pound": ("0.45359237", "kg"),
}
_FACTOR = re.compile(
    r"\s?(?P<over>/|\bper\b|[*·⋅])?\s?(?:(?P<shape>square|cubic)\s)?(?P<name>[A-Za-zµ]+)(?:(?:\^|\*\*)\{?(?P<power>-?\d)\}?)?"
    r"(?P<raised>[²³])?"
)
_LATEX = re.compile(r"\\(?:text|mathrm|,|;| )|[{}~]|\\mu\b")


@register("unit")
@dataclass(frozen=True)
class Unit(AnswerScorer):
    """1 if the final answer of a completion is the quantity of its reference, whatever its unit, else 0.

    The number is found as `numeric` finds it; its unit stands behind it: "1.5 km", "90 km/h", "3 m^2", "2 square
    metres", "5 kilograms per second". What is no unit ends it: "3 m of rope" is 3 m, "18 eggs" a plain 18. A quantity
    without its unit is wrong where the reference has one. A reference without a number is not applicable.

    Args:
        field: the field of the metadata that holds the answer; none for the references.
        tolerance: how far from the answer, as a share of it, still counts as right; 0 asks for equal fractions.
    """

    tolerance: float = 0.0
    formula = "1 if dimensions agree and |answer - reference| <= tolerance |reference|, in SI units, else 0"
    source = "the SI Brochure, 9th edition"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.tolerance < 1:
            raise ScorerError(f"{self}: tolerance is a share of the answer, from 0 to below 1")

    def right(self, text: str, answers: Sequence[Any]) -> bool | None:
        """Whether the text comes to one of the quantities; None if no answer holds a number."""
        due = [quantity for quantity in (quantity_of(str(answer)) for answer in answers) if quantity is not None]
        if not due:
            return None
        said = quantity_of(text)
        return said is not None and any(
            said[1] == dimensions and abs(said[0] - value) <= Fraction(str(self.tolerance)) * abs(value)
            for value, dimensions in due
        )


def quantity_of(text: str) -> tuple[Fraction, Dimensions] | None:
    """The quantity that a text gives as its answer, in SI units; None if it gives no number.

    >>> quantity_of("The answer is 1.5 km.")
    (Fraction(1500, 1), {'m': 1})
    """
    number = answer_of(text)
    if number is None:
        return None
    value, dimensions, after = number.value, Counter[str](), _LATEX.sub("", number.after)
    while (factor := _FACTOR.match(after)) and (unit := _units().get(factor["name"])):
        if dimensions and not factor["over"]:
            break
        power = int(factor["power"] or {"²": 2, "³": 3}.get(factor["raised"], 1))
        power *= {"square": 2, "cubic": 3}.get(factor["shape"], 1)
        power = -power if factor["over"] in ("/", "per") else power
        value *= unit[0] ** power
        for base, exponent in unit[1].items():
            dimensions[base] += exponent * power
        after = after[factor.end() :]
    return value, {base: power for base, power in dimensions.items() if power}


@lru_cache(maxsize=1)
def _units() -> dict[str, tuple[Fraction, Dimensions]]:
    """Every symbol and name, with its factor and dimensions in SI units."""
    units: dict[str, tuple[Fraction, Dimensions]] = {}
    for symbol, (names, factor, bases) in _SI.items():
        for prefix, (name, power) in _PREFIXES.items():
            unit = (Fraction(factor) * Fraction(10) ** power, _dimensions(bases))
            known = [prefix + symbol, *(name + one + end for one in names.split() for end in ("", "s"))]
            units.update(dict.fromkeys(known, unit))
    for spellings, (factor, bases) in _OTHERS.items():
        for one in spellings.split():
            units.update(
                dict.fromkeys((one, one + "s") if len(one) > 2 else (one,), (Fraction(factor), _dimensions(bases)))
            )
    return units


def _dimensions(bases: str) -> Dimensions:
    powers = Counter[str]()
    for base in bases.split():
        powers[base.lstrip("-")] += -1 if base.startswith("-") else 1
    return powers
