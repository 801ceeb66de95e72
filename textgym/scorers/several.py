"""Nodes with any number of parts: ``product``, ``ensemble`` and ``lexicographic``."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from textgym.errors import ScorerError
from textgym.scorers.algebra import Composite, Product
from textgym.scorers.base import Scorer, register
from textgym.types import Scores

_EXACT = 2**52  # whole numbers up to here, over the greatest of them, are distinct in float64


@dataclass(frozen=True, init=False)
class _Several(Composite):
    """Two parts or more, given by position."""

    of: tuple[Scorer, ...]
    positional = 1

    def __init__(self, *of: Scorer | float) -> None:
        object.__setattr__(self, "of", of)
        self.__post_init__()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.of) < 2:
            raise ScorerError(f"{self.name} takes two scorers or more, e.g. {self.name}(repetition, distinct)")


@register("product")
@dataclass(frozen=True, init=False)
class Factors(_Several):
    """The product of its parts, from the left: ``product(a, b, c)`` is the tree of ``a*b*c``, and is printed so.

    Args:
        of: two factors or more; of the first two, one at least is no number.
    """

    formula = "x * y * ..."
    source = ""

    def __new__(cls, *of: Scorer | float) -> Any:
        """Folds the parts into `textgym.scorers.algebra.Product` nodes; there is no node of this class."""
        factors = super().__new__(cls)
        cls.__init__(factors, *of)  # for its checks
        return reduce(Product, factors.of)


@register("ensemble")
@dataclass(frozen=True, init=False)
class Ensemble(_Several):
    """Several scorers of one thing as one: their mean, minimum or median; not applicable where one of them is not.

    The minimum is the cautious choice against a reward that only one of them can be fooled into giving (Coste et al.
    2024, "Reward Model Ensembles Help Mitigate Overoptimization").

    Args:
        of: two scorers or more, on one scale.
        how: ``mean``, ``min`` or ``median``; the median of an even number is the mean of the middle two.
    """

    how: Literal["mean", "min", "median"] = "mean"

    formula = "mean, min or median of x, y, ..."
    source = "Coste et al. 2024"

    def __init__(self, *of: Scorer | float, how: Literal["mean", "min", "median"] = "mean") -> None:
        object.__setattr__(self, "how", how)
        super().__init__(*of)

    @property
    def range(self) -> tuple[float, float]:
        """The lower ends as one, and the upper ends as one."""
        low, high = self._as_one([np.array(part.range) for part in self.of]).tolist()
        return (low, high)

    @property
    def unit(self) -> str:
        """The one of all parts, if they agree."""
        units = {part.unit for part in self.of}
        return units.pop() if len(units) == 1 else ""

    def combine(self, parts: Sequence[Scores], rows: int) -> Scores:
        """Row by row; of the mean also the tokens, where all parts have them."""
        tokens = None
        split = [part.tokens for part in parts if part.tokens is not None]
        if self.how == "mean" and len(split) == len(parts):
            tokens = sum(split[1:], split[0]) / len(parts)
        values = self._as_one([part.values for part in parts])
        return Scores(values, np.all([part.valid for part in parts], axis=0), tokens)

    def _as_one(self, values: Sequence[Float64[np.ndarray, " B"]]) -> Float64[np.ndarray, " B"]:
        if self.how == "mean":
            # Not np.mean: the order in which it adds depends on the number of rows.
            return np.asarray(sum(values[1:], values[0]) / len(values))
        ordered = np.sort(np.array(values), axis=0)
        if self.how == "min":
            return np.asarray(ordered[0])
        middle = (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2
        return np.asarray(middle)


@register("lexicographic")
@dataclass(frozen=True, init=False)
class Lexicographic(_Several):
    """An order by the first part, within equal values of it by the second, and so on, as one number in [0, 1].

    Each part is rounded to the nearest of ``steps + 1`` levels that divide its range evenly, both ends included. With
    levels k_1 ... k_n of n parts and b = steps + 1, the value is ``(k_1 b^(n-1) + ... + k_n) / (b^n - 1)``, exact in
    float64. So one level of a part outweighs all that come after it, and values of a part that are nearer than a step,
    1/steps of its range, may count as equal. One level of the last part is worth 1/(b^n - 1): few parts and few steps
    make a reward that an agent can feel.

    Args:
        of: two scorers or more with finite ranges, the most important one first.
        steps: steps into which each range is divided.

    Raises:
        ScorerError: a part whose range is infinite or a point; more levels than float64 tells apart.
    """

    steps: int = 100
    formula = "(k_1 b^(n-1) + ... + k_n) / (b^n - 1), k levels of b = steps + 1"
    source = ""
    _scales: tuple[tuple[float, float], ...] = field(init=False, repr=False, compare=False)

    def __init__(self, *of: Scorer | float, steps: int = 100) -> None:
        object.__setattr__(self, "steps", steps)
        super().__init__(*of)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise ScorerError(f"{self}: steps counts the parts of a range and must be at least 1")
        if (self.steps + 1) ** len(self.of) > _EXACT:
            most = math.floor(_EXACT ** (1 / len(self.of))) - 1
            raise ScorerError(
                f"{self}: {self.steps} steps of {len(self.of)} scorers are more levels than float64 tells apart; "
                f"at most {most} steps"
            )
        object.__setattr__(self, "_scales", tuple(map(self._scale, self.of)))

    def _scale(self, part: Scorer) -> tuple[float, float]:
        low, high = part.range
        if not math.isfinite(high - low):
            raise ScorerError(
                f"{self.name}: {part} lies between {low:g} and {high:g}, and only a finite range has levels: "
                f"clip({part}, LOW, HIGH)"
            )
        if low == high:
            raise ScorerError(f"{self.name}: {part} is {low:g} for every text and orders none")
        return low, high - low

    @property
    def range(self) -> tuple[float, float]:
        """All parts at their lowest, all at their highest."""
        return (0.0, 1.0)

    def combine(self, parts: Sequence[Scores], rows: int) -> Scores:
        """Row by row."""
        place = np.zeros(rows)
        for part, (low, span) in zip(parts, self._scales, strict=True):
            level = np.floor((part.values - low) / span * self.steps + 0.5)
            place = place * (self.steps + 1) + np.clip(level, 0, self.steps)
        last = (self.steps + 1) ** len(self.of) - 1
        return Scores(place / last, np.all([part.valid for part in parts], axis=0))
