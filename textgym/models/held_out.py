"""Rows that a model is not trained on, and what it gets right of them."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

HELD_OUT = 0.2
"""The share of rows that is kept from training."""


@dataclass(frozen=True)
class Accuracy:
    """A share of rows.

    Attributes:
        right: how many rows were right; one that is undecided is half right.
        rows: of how many.
    """

    right: float
    rows: int

    @property
    def value(self) -> float:
        """The share, 0 to 1."""
        return self.right / self.rows

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the share (Wilson 1927)."""
        z, n, p = 1.959964, self.rows, self.value
        centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        scale = 1 + z * z / n
        return (max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.3f} ({low:.3f} to {high:.3f}, {self.rows:,} rows)"


def held_out(groups: Int64[np.ndarray, " N"], seed: int) -> Bool[np.ndarray, " N"]:
    """Which of N rows are kept from training: a fifth of each group, at least one of a group that has two.

    Args:
        groups: the group of each row; those of one group are drawn from by themselves.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    kept = np.zeros(len(groups), dtype=bool)
    for group in np.unique(groups):
        rows = rng.permutation(np.flatnonzero(groups == group))
        count = max(1, round(HELD_OUT * len(rows))) if len(rows) > 1 else 0
        kept[rows[:count]] = True
    return kept
