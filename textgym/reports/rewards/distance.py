"""Gold over distance from the reference, d = sqrt(KL) in sqrt(nats): the points of one checkpoint and seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from textgym.reports.rewards.arms import Bench
from textgym.reports.rewards.bootstrap import text_counts
from textgym.reports.rewards.runs import Look, Run


@dataclass(frozen=True, eq=False)
class Curve:
    """Evaluations at several distances; texts of which anything is unknown are left out.

    Attributes:
        kl: of P evaluations, nats of each text (N,), or of the first of them.
        gold: of the same texts, gold quality on the scale if there is one.
        origin: gold quality of the reference.
        checkpoint: that the runs began as.
    """

    kl: Sequence[Float[np.ndarray, " _"]]
    gold: Sequence[Float[np.ndarray, " _"]]
    origin: float
    checkpoint: int

    @property
    def texts(self) -> int:
        """N, of the evaluations that have most."""
        return max(map(len, self.kl))

    @property
    def points(self) -> tuple[Float64[np.ndarray, " P"], Float64[np.ndarray, " P"]]:
        """Distances, the nearest first, and mean gold at them."""
        distance, gold = _root(np.array([own.mean() for own in self.kl])), np.array([own.mean() for own in self.gold])
        order = np.argsort(distance, kind="stable")
        return distance[order], gold[order]

    def drawn(self, seed: int) -> tuple[Float64[np.ndarray, "B P"], Float64[np.ndarray, "B P"]]:
        """The points, in no order, of texts that are drawn again, the same ones in every evaluation."""
        counts = text_counts(self.texts, seed)
        shares = {size: counts[:, :size] / np.maximum(counts[:, :size].sum(1, keepdims=True), 1)
                  for size in set(map(len, self.kl))}  # fmt: skip
        kl, gold = (np.stack([shares[len(own)] @ own for own in columns], 1) for columns in (self.kl, self.gold))
        return _root(kl), gold

    def at(self, distances: Float64[np.ndarray, " K"]) -> Float64[np.ndarray, " K"]:
        """Gold between the points and the reference at 0, linear in d; NaN beyond the last point."""
        return _between(distances, *self.points, self.origin)

    def drawn_at(self, distances: Float64[np.ndarray, " K"], seed: int) -> Float64[np.ndarray, "B K"]:
        """The same of texts that are drawn again; a draw that ends sooner keeps its last point."""
        own, gold = self.drawn(seed)
        return _between(np.minimum(distances, own.max(1, keepdims=True)), own, gold, self.origin)


def curve(bench: Bench, looks: Sequence[tuple[Run, Look]]) -> Curve | None:
    """The curve through evaluations of runs of one checkpoint; None where truth or KL is known at none of them.

    Args:
        bench: with their yardsticks.
        looks: evaluations of sampled texts, each with its run; of best-of-n the KL is that of the run.
    """
    points = []
    for run, look in looks:
        gold = bench.seen(run, look)
        if gold is None:
            continue
        kl = np.asarray(look.values.get("kl", np.full(len(gold), run.kl)), np.float64)
        known = np.isfinite(kl) & np.isfinite(gold)
        if known.any():
            points.append((kl[known], gold[known]))
    checkpoint = looks[0][0].job["checkpoint"] if looks else 0
    origin = bench.origin(checkpoint)
    if not points or origin is None:
        return None
    return Curve([kl for kl, _ in points], [gold for _, gold in points], origin, checkpoint)


def _root(kl: Float64[np.ndarray, "*rows"]) -> Float64[np.ndarray, "*rows"]:
    return np.asarray(np.sqrt(np.maximum(kl, 0)))


def _between(
    distances: Float64[np.ndarray, "*rows K"],
    own: Float64[np.ndarray, "*rows P"],
    gold: Float64[np.ndarray, "*rows P"],
    origin: float,
) -> Float64[np.ndarray, "*rows K"]:
    """`numpy.interp` through the origin and P points in any order, for many rows at once; NaN beyond the last point."""
    order = np.argsort(own, axis=-1, kind="stable")
    start = np.zeros((*own.shape[:-1], 1))
    x = np.concatenate([start, np.take_along_axis(own, order, -1)], -1)
    y = np.concatenate([start + origin, np.take_along_axis(gold, order, -1)], -1)
    right = np.clip((x[..., None, :] < distances[..., :, None]).sum(-1), 1, own.shape[-1])
    x_left, y_left = (np.take_along_axis(one, right - 1, -1) for one in (x, y))
    x_right, y_right = (np.take_along_axis(one, right, -1) for one in (x, y))
    width = x_right - x_left
    share = np.divide(distances - x_left, width, out=np.ones_like(width), where=width > 0)
    return np.where(distances <= x[..., -1:], y_left + share * (y_right - y_left), np.nan)
