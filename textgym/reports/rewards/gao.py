"""Laws of over-optimisation: how gold rises and falls with the distance d = sqrt(KL) from the reference.

Gao, Schulman and Hilton 2022, "Scaling laws for reward model overoptimization", equations 1 and 2: gold gained is
d (alpha - beta d) for best-of-n, and d (alpha - beta log d) for reinforcement learning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.linalg import lstsq

from textgym.reports.rewards.bootstrap import RUNS, TEXTS, Sample, run_choices, strata, stretch
from textgym.reports.rewards.distance import Curve

LEAST_POINTS = 4
"""At different distances; a law of two constants goes through any two."""

NEAREST = 1e-3
"""In sqrt(nats); what is nearer has not left the reference."""

WORST_CONDITION = 1e10
"""Of normal equations; what is worse does not determine two constants."""


@dataclass(frozen=True)
class Law:
    """How gold depends on d.

    Attributes:
        name: of what it holds for.
        best_of_n: whether it is the law of best-of-n.
    """

    name: str
    best_of_n: bool

    def terms(self, d: Float64[np.ndarray, "*rows"]) -> Float64[np.ndarray, "*rows 2"]:
        """What alpha and beta are multiplied by."""
        falling = d**2 if self.best_of_n else d * np.log(np.maximum(d, NEAREST))
        return np.stack([d, -falling], -1)

    def gold(self, coefficients: Float64[np.ndarray, "*rows 2"], d: Any) -> Any:
        """Gold gained at d."""
        return (self.terms(np.asarray(d, np.float64)) * coefficients).sum(-1)

    def peak(self, coefficients: Float64[np.ndarray, "*rows 2"]) -> Any:
        """The distance at which gold is highest; infinite where it never falls."""
        alpha, beta = coefficients[..., 0], coefficients[..., 1]
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            top = alpha / (2 * beta) if self.best_of_n else np.exp(alpha / beta - 1)
        rising = beta <= 0
        if self.best_of_n:  # of a line that only falls, the reference is the peak
            top = np.maximum(top, 0)
        return np.where(rising, np.inf, top)


RL, BEST_OF_N = Law("reinforcement learning", best_of_n=False), Law("best of n", best_of_n=True)


@dataclass(frozen=True, eq=False)
class Fit:
    """A law fitted to what a reward did.

    Attributes:
        law: which one.
        coefficients: alpha and beta (2,).
        draws: of the bootstrap (B, 2).
        explained: share of the variance of gold gained, R^2.
        furthest: the largest distance that was reached.
        d: distances of all points (P,).
        gained: gold gained at them (P,).
        unit: what was drawn again: "runs" or "texts".
    """

    law: Law
    coefficients: Float64[np.ndarray, " 2"]
    draws: Float64[np.ndarray, "B 2"]
    explained: float
    furthest: float
    d: Float64[np.ndarray, " P"]
    gained: Float64[np.ndarray, " P"]
    unit: str

    @property
    def peak(self) -> float:
        """KL in nats at which gold is highest; infinite where it never falls."""
        return float(self.law.peak(self.coefficients) ** 2)

    @property
    def drawn_peaks(self) -> Float64[np.ndarray, " B"]:
        """The same of each resample."""
        peaks: Float64[np.ndarray, " B"] = self.law.peak(self.draws) ** 2
        return peaks

    def lost(self, coefficients: Float64[np.ndarray, "*rows 2"]) -> Any:
        """Gold lost between the peak and the furthest point; 0 where the peak was not passed."""
        top = np.minimum(self.law.peak(coefficients), self.furthest)
        end = np.full(np.shape(top), self.furthest)
        return self.law.gold(coefficients, top) - self.law.gold(coefficients, end)


def fit(law: Law, curves: Sequence[Curve], seed: int) -> Fit | None:
    """Least squares (scipy) through all points of all curves, with its bootstrap.

    Curves are drawn again within their checkpoints where there are several, else texts.

    Args:
        law: to be fitted.
        curves: one for each checkpoint and seed.
        seed: of the draws.

    Returns:
        None where there are fewer than four different distances, or where they do not determine the law.
    """
    points = [(d, gold - curve.origin) for curve in curves for d, gold in [curve.points]]
    d, gained = (np.concatenate(column) for column in zip(*points, strict=True))
    left = d > NEAREST
    if len(np.unique(np.round(d[left], 6))) < LEAST_POINTS:
        return None
    coefficients, _, rank, _ = lstsq(law.terms(d[left]), gained[left])
    if rank < 2:
        return None
    unit = RUNS if len(curves) > 1 else TEXTS
    draws = _of_curves(law, points, curves, seed) if unit == RUNS else _of_texts(law, curves[0], seed)
    sample = _as_sample(curves)
    draws = coefficients + stretch(sample, unit) * (draws - coefficients)
    spread = float(gained[left].var())
    unexplained = float((gained[left] - law.gold(coefficients, d[left])).var())
    explained = 1 - unexplained / spread if spread > 0 else float("nan")
    return Fit(law, coefficients, draws, explained, float(d.max()), d, gained, unit)


def _as_sample(curves: Sequence[Curve]) -> Sample:
    return Sample(np.zeros((len(curves), curves[0].texts)), np.array([one.checkpoint for one in curves], np.int64))


def _of_curves(
    law: Law, points: Sequence[tuple[np.ndarray, np.ndarray]], curves: Sequence[Curve], seed: int
) -> Float64[np.ndarray, "B 2"]:
    """Least squares of curves that are drawn again: their normal equations add up."""
    parts = [_normal(law, d[d > NEAREST], gained[d > NEAREST]) for d, gained in points]
    chosen = run_choices(tuple(strata(_as_sample(curves)).tolist()), seed)
    squares, products = (np.stack(column)[chosen].sum(1) for column in zip(*parts, strict=True))
    return _solved(squares, products)


def _of_texts(law: Law, curve: Curve, seed: int) -> Float64[np.ndarray, "B 2"]:
    """Least squares through the points of texts that are drawn again."""
    d, gold = curve.drawn(seed)
    return _solved(*_normal(law, d, gold - curve.origin))


def _normal(law: Law, d: Float64[np.ndarray, "*rows P"], gained: Float64[np.ndarray, "*rows P"]) -> tuple[Any, Any]:
    terms = law.terms(d)
    return np.einsum("...pi,...pj->...ij", terms, terms), np.einsum("...pi,...p->...i", terms, gained)


def _solved(squares: Float64[np.ndarray, "B 2 2"], products: Float64[np.ndarray, "B 2"]) -> Float64[np.ndarray, "B 2"]:
    """NaN where the points of a draw do not determine the law."""
    known = np.linalg.cond(squares) < WORST_CONDITION
    found = np.full(products.shape, np.nan)
    found[known] = np.linalg.solve(squares[known], products[known][..., None])[..., 0]
    return found
