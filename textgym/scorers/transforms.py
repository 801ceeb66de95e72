"""Nodes with a name and one part: ``clip``, ``standard``, ``default`` and ``rank``."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from textgym.errors import ScorerError
from textgym.scorers.algebra import Combine, Composite
from textgym.scorers.base import Scorer, register
from textgym.types import Arrays, Scores, ScoringContext


@register("clip")
@dataclass(frozen=True)
class Clip(Composite):
    """Values cut off at bounds.

    Args:
        of: what is clipped.
        low: lower bound, or none.
        high: upper bound, or none.
    """

    of: Scorer
    low: float | None = None
    high: float | None = None
    formula = "min(max(x, low), high)"
    source = ""
    positional = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low is None and self.high is None:
            raise ScorerError(f"{self}: give clip a lower bound, an upper bound or both, e.g. clip({self.of}, 0, 1)")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ScorerError(f"{self}: the lower bound is above the upper one")

    @property
    def range(self) -> tuple[float, float]:
        """The part's, clipped."""
        low, high = (float(end) for end in np.clip(self.of.range, self.low, self.high))
        return (low, high)

    @property
    def unit(self) -> str:
        """The part's."""
        return self.of.unit

    def combine(self, parts: Sequence[Scores], rows: int) -> Scores:
        """Row by row."""
        (part,) = parts
        return Scores(np.clip(part.values, self.low, self.high), part.valid)


@register("standard")
@dataclass(frozen=True)
class Standard(Composite):
    """z-score against the task's own texts: (x - mean) / sd, both fixed when the scorer is bound.

    Mean and standard deviation (population) are those of the context's references for which the part is defined.

    Args:
        of: what is standardised.
    """

    of: Scorer
    formula = "(x - mean(x of references)) / sd(x of references)"
    source = ""
    unit = "sd"
    positional = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.of.moving:
            raise ScorerError(f"{self}: the price of a lagrangian moves, so it has no fixed mean: add it outside")

    @property
    def needs(self) -> frozenset[str]:
        """A context, beside what the part needs."""
        return super().needs | {"calibration"}

    def combiner(self, context: ScoringContext | None) -> Combine:
        """Scores the references, or takes mean and sd from the context's store.

        Raises:
            ScorerError: the part is the same for all references, or defined for none.
        """
        if context is None:
            raise self._unbound()
        bound = self.of.bind(context)

        def measure() -> Arrays:
            scores = bound.score(context.references())
            values = scores.values[scores.valid]
            if not len(values):
                raise ScorerError(f"{self}: {self.of} is not applicable to any reference text of this task")
            return {"moments": np.array([values.mean(), values.std()])}

        mean, sd = context.cached("standard", bound.signature, measure)["moments"]
        if not (math.isfinite(mean) and math.isfinite(sd)):
            raise ScorerError(f"{self}: {self.of} has mean {mean} and sd {sd} over the task's reference texts")
        if sd <= 1e-12 * max(1.0, abs(mean)):
            raise ScorerError(
                f"{self}: {self.of} is {mean:g} for every reference text of this task (sd 0), so it has no z-score; "
                f"use {self.of} itself"
            )
        return partial(self._standardise, float(mean), float(sd))

    @staticmethod
    def _standardise(mean: float, sd: float, parts: Sequence[Scores], rows: int) -> Scores:
        (part,) = parts
        return Scores((part.values - mean) / sd, part.valid)


@register("default")
@dataclass(frozen=True)
class Default(Composite):
    """A value for the texts to which a scorer is not applicable; what it gives is always defined.

    Args:
        of: what is scored.
        value: what a text gets where `of` is not applicable.
    """

    of: Scorer
    value: float
    formula = "x where applicable, else value"
    source = ""
    positional = 2

    @property
    def range(self) -> tuple[float, float]:
        """The part's, widened by the value."""
        low, high = self.of.range
        return (min(low, self.value), max(high, self.value))

    @property
    def unit(self) -> str:
        """The part's."""
        return self.of.unit

    def partial_in(self, context: ScoringContext | None) -> bool:
        """Never."""
        return False

    def combine(self, parts: Sequence[Scores], rows: int) -> Scores:
        """Row by row; tokens where no row took the value."""
        (part,) = parts
        tokens = part.tokens if part.valid.all() else None
        return Scores(np.where(part.valid, part.values, self.value), tokens=tokens)


@register("rank")
@dataclass(frozen=True)
class Rank(Composite):
    """A text's rank in its batch: the share of the other texts that score lower, those with the same score half.

    So the lowest is 0, the highest 1, and a text alone 0.5. Texts to which the part is not applicable have no rank and
    count for none. A rank belongs to a batch, so it cannot be the reward of an episode.

    Args:
        of: what the texts are ranked by.
    """

    of: Scorer
    formula = "(|lower| + |equal others| / 2) / |others|"
    source = ""
    range = (0.0, 1.0)
    causal = False
    set_level = True
    positional = 1

    def combine(self, parts: Sequence[Scores], rows: int) -> Scores:
        """Among the rows that are valid."""
        (part,) = parts
        _, places, ties = np.unique(part.values[part.valid], return_inverse=True, return_counts=True)
        others = ties.sum() - 1
        lower = np.cumsum(ties) - ties + (ties - 1) / 2
        values = np.zeros(rows)
        values[part.valid] = lower[places] / others if others else 0.5
        return Scores(values, part.valid)
