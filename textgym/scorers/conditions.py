"""Nodes with bounds: ``gate`` lets a scorer through where a condition holds, ``penalty`` charges what lies outside."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from textgym.errors import ScorerError
from textgym.scorers.algebra import Composite
from textgym.scorers.base import Scorer, register
from textgym.types import Scores


@register("gate")
@dataclass(frozen=True)
class Gate(Composite):
    """A scorer where a condition holds, and a fixed value elsewhere.

    The gate is open where ``above < condition < below``, at the bounds it is closed. An open gate gives what `of`
    gives, a closed one gives `otherwise` and does not ask `of`, which need not be applicable there; where the condition
    is not applicable, neither is the gate. Without `otherwise` a closed gate gives the lowest value that `of` can have,
    so that failing the condition never pays.

    Args:
        condition: what is compared with the bounds.
        of: what an open gate gives.
        above: the gate is open above this value of the condition only; none for no such bound.
        below: the gate is open below this value of the condition only; none for no such bound.
        otherwise: what a closed gate gives; none for the lower end of the range of `of`.

    Raises:
        ScorerError: no bound; bounds that the condition always or never meets; no `otherwise` where `of` has no lowest
            value.
    """

    condition: Scorer
    of: Scorer
    above: float | None = None
    below: float | None = None
    otherwise: float | None = None
    formula = "x if above < condition < below else otherwise"
    source = ""
    _floor: float = field(init=False, repr=False, compare=False)
    positional = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.above is None and self.below is None:
            raise ScorerError(f"{self} lacks a bound: say when it is open, above=, below= or both")
        if self.above is not None and self.below is not None and self.above >= self.below:
            raise ScorerError(f"{self} is never open: no number is above {self.above:g} and below {self.below:g}")
        low, high = self.condition.range
        lies = f"{self.condition} lies between {low:g} and {high:g}"
        if (self.above is not None and high <= self.above) or (self.below is not None and low >= self.below):
            raise ScorerError(f"{self} is never open: {lies}")
        if (self.above is None or self.above < low) and (self.below is None or high < self.below):
            raise ScorerError(f"{self} is always open: {lies}")
        floor = self.of.range[0] if self.otherwise is None else self.otherwise
        if not math.isfinite(floor):
            raise ScorerError(
                f"{self}: {self.of} has no lowest value that a closed gate could give: say otherwise=NUMBER, or "
                f"clip({self.of}, LOW, HIGH)"
            )
        object.__setattr__(self, "_floor", floor)

    @property
    def range(self) -> tuple[float, float]:
        """That of `of`, widened by what a closed gate gives."""
        low, high = self.of.range
        return (min(low, self._floor), max(high, self._floor))

    @property
    def unit(self) -> str:
        """That of `of`."""
        return self.of.unit

    def combine(self, parts: Sequence[Scores], rows: int) -> Scores:
        """Row by row."""
        condition, of = parts
        opened = np.ones(rows, dtype=bool)
        if self.above is not None:
            opened &= condition.values > self.above
        if self.below is not None:
            opened &= condition.values < self.below
        return Scores(np.where(opened, of.values, self._floor), condition.valid & (of.valid | ~opened))


@register("penalty")
@dataclass(frozen=True)
class Penalty(Composite):
    """0 within bounds, outside them minus the distance to the nearer bound, times a weight.

    Args:
        of: what is kept within bounds.
        above: values above this one cost ``weight * (value - above)``; none for no such bound.
        below: values below this one cost ``weight * (below - value)``; none for no such bound.
        weight: price of one unit of distance, above 0.

    Raises:
        ScorerError: no bound, crossed bounds, a weight of 0 or less, or bounds that no value can leave.
    """

    of: Scorer
    above: float | None = None
    below: float | None = None
    weight: float = 1.0
    formula = "-weight * (max(x - above, 0) + max(below - x, 0))"
    source = ""
    positional = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.above is None and self.below is None:
            raise ScorerError(f"{self} lacks a bound: say where it begins to cost, above=, below= or both")
        if self.above is not None and self.below is not None and self.above < self.below:
            raise ScorerError(f"{self}: every value is above {self.above:g} or below {self.below:g}; swap them")
        if self.weight <= 0:
            raise ScorerError(f"{self}: a weight of {self.weight:g} would not be a penalty; it must be above 0")
        if self.range[0] == 0:
            low, high = self.of.range
            raise ScorerError(f"{self} never costs anything: {self.of} lies between {low:g} and {high:g}")

    @property
    def range(self) -> tuple[float, float]:
        """From what the dearer end of the part's range costs up to what its cheapest value does, mostly 0."""
        low, high = self.of.range
        free = self.above if self.above is not None else self.below
        assert free is not None
        with np.errstate(over="ignore"):
            lowest, highest, cheapest = self._charge(np.array([low, high, min(max(free, low), high)])).tolist()
        return (min(lowest, highest), cheapest)

    @property
    def unit(self) -> str:
        """That of the part, unless it is weighted."""
        return self.of.unit if self.weight == 1 else ""

    def combine(self, parts: Sequence[Scores], rows: int) -> Scores:
        """Row by row."""
        (part,) = parts
        return Scores(self._charge(part.values), part.valid)

    def _charge(self, values: Float64[np.ndarray, " _"]) -> Float64[np.ndarray, " _"]:
        distance = np.zeros(len(values))
        if self.above is not None:
            distance += np.maximum(values - self.above, 0.0)
        if self.below is not None:
            distance += np.maximum(self.below - values, 0.0)
        charge: Float64[np.ndarray, " _"] = 0.0 - self.weight * distance
        return charge
