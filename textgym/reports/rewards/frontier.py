"""What designs reach over KL: curves through the values of beta that were run, and points of best-of-n."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from textgym.reports.rewards.arms import Arm, Bench
from textgym.reports.rewards.bootstrap import TEXTS, Estimate, Sample, estimate
from textgym.reports.rewards.distance import Curve, curve
from textgym.reports.rewards.runs import Run

SAME = ("agent", "delivery", "gamma", "kl_in", "tokens", "settings", "reward")
"""Of jobs, what runs of one curve have in common beside the design."""


@dataclass(frozen=True, eq=False)
class Frontier:
    """What a design reaches over KL.

    Attributes:
        design: its name.
        arm: the first of its arms.
        curves: one for each checkpoint and seed.
        strengths: what was varied, rising: beta, or n of best-of-n.
    """

    design: str
    arm: Arm
    curves: Sequence[Curve]
    strengths: Sequence[float]

    @property
    def reach(self) -> float:
        """The distance that every curve reaches."""
        return min(float(one.points[0][-1]) for one in self.curves)

    def at(self, distances: Float64[np.ndarray, " K"]) -> Float64[np.ndarray, " K"]:
        """Mean gold over the curves; NaN where one of them does not reach."""
        return np.asarray(np.mean([one.at(distances) for one in self.curves], axis=0))

    def estimate(self, distances: Float64[np.ndarray, " K"], seed: int) -> Estimate | None:
        """Gold averaged over distances, with its bootstrap; None where a curve does not reach them.

        Curves are drawn again within their checkpoints where there are several, else texts.
        """
        if not len(distances) or distances.max() > self.reach:
            return None
        if len(self.curves) > 1:
            means = np.array([[one.at(distances).mean()] for one in self.curves])
            return estimate(Sample(means, np.array([one.checkpoint for one in self.curves])), seed=seed)
        [one] = self.curves
        return Estimate(float(one.at(distances).mean()), one.drawn_at(distances, seed).mean(1), TEXTS)


def frontiers(bench: Bench) -> list[Frontier]:
    """One for each design that was run with several betas, in the order of the rows."""
    found = []
    varied, planned = bench.arms("kl"), bench.arms("designs")
    for design in dict.fromkeys(arm.job["design"] for arm in varied):
        own = [arm for arm in varied if arm.job["design"] == design]
        own += [arm for arm in planned if arm.job["design"] == design and _same(arm, own[0])]
        found += through(bench, design, own, "beta")
    return found


def picked(bench: Bench) -> list[Frontier]:
    """The best of n by each design, over n."""
    arms = bench.arms(*{run.job["experiment"] for run in bench.runs}, kind="best_of_n")
    found = []
    for design in dict.fromkeys(arm.job["design"] for arm in arms):
        found += through(bench, design, [arm for arm in arms if arm.job["design"] == design], "n")
    return found


def _same(arm: Arm, other: Arm) -> bool:
    return all(arm.job.get(name) == other.job.get(name) for name in SAME)


def through(bench: Bench, design: str, arms: Sequence[Arm], varied: str) -> list[Frontier]:
    """The curves through arms that differ in one strength; empty where nothing is known of them.

    Args:
        bench: with their yardsticks.
        design: what they are called.
        arms: of one design.
        varied: "beta" or "n".
    """
    families: dict[tuple[int, int], list[Run]] = {}
    for run in (run for arm in arms for run in arm.runs):
        families.setdefault((run.job["checkpoint"], run.job["seed"]), []).append(run)
    most = max(map(len, families.values()), default=0)
    curves = [
        one
        for runs in families.values()
        # A seed that was run at half of the strengths or fewer would end early, and all that is said of the design.
        if 2 * len(runs) > most
        and (one := curve(bench, [(run, look) for run in runs if (look := run.final())])) is not None
    ]
    strengths = {float(arm.job["variant"].get(varied, arm.job.get(varied, np.nan))) for arm in arms}
    return [Frontier(design, arms[0], curves, sorted(strengths))] if curves else []
