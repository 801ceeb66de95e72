"""Numeric answers: whether a completion comes to the number that its reference comes to."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from textgym.errors import ScorerError
from textgym.scorers.answers import AnswerScorer
from textgym.scorers.base import register
from textgym.scorers.numerals import Numeral, answer_of


@register("numeric")
@dataclass(frozen=True)
class Numeric(AnswerScorer):
    r"""1 if the final answer of a completion is the number of its reference, else 0.

    Numbers are compared as exact fractions: 1/2 is 0.5, and 0.333 is not 1/3. Which number of a text is its answer is
    decided by the same rule in completion and reference (`textgym.scorers.numerals.answer_of`): what follows ``####``,
    else what stands in ``\boxed{}``, else what follows "answer is" or "answer:", else the last number of the last
    sentence that has one; an equals sign moves it behind. Currencies and units are passed over: "$18" and "18 km" are
    18. A completion without a number scores 0; a reference without one is not applicable.

    Args:
        field: the field of the metadata that holds the answer, a number or a text; none for the references.
        tolerance: how far from the answer, in its own unit, still counts as right.
        percent: ``sign`` takes a percent sign for a unit, so that "50%" is 50; ``hundredth`` takes it at its word, so
            that "50%" is 1/2 and 0.5.
    """

    tolerance: float = 0.0
    percent: Literal["sign", "hundredth"] = "sign"
    formula = "1 if |answer(completion) - answer(reference)| <= tolerance else 0"
    source = "Cobbe et al. 2021, section 2 (the final answer of GSM8K)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tolerance < 0:
            raise ScorerError(f"{self}: tolerance is a distance and cannot be below 0")

    def right(self, text: str, answers: Sequence[Any]) -> bool | None:
        """Whether the text comes to one of the numbers; None if no answer holds a number."""
        due = [value for value in map(self._known, answers) if value is not None]
        if not due:
            return None
        said = answer_of(text)
        return said is not None and any(
            abs(self._value(said) - value) <= Fraction(str(self.tolerance)) for value in due
        )

    def _known(self, answer: Any) -> Fraction | None:
        number = answer_of(str(answer))
        return None if number is None else self._value(number)

    def _value(self, number: Numeral) -> Fraction:
        return number.value / 100 if number.percent and self.percent == "hundredth" else number.value
