"""Figures of many runs beside their mean: improvement, optimality gap, performance profile.

Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice", sections 4.2 and 4.3.
"""

from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy import stats

from textgym.reports.blocks import Interval
from textgym.reports.rewards.bootstrap import RUNS, Estimate, Sample, run_choices, strata, stretch


def optimality_gap(scores: Float64[np.ndarray, "*rows R"]) -> Any:
    """How far scores are below 1 on average, those above it counted as 1; lower is better."""
    return 1 - np.minimum(scores, 1).mean(-1)


def profile(scores: Float64[np.ndarray, "*rows R"], thresholds: Float64[np.ndarray, " K"]) -> Any:
    """Share of scores above each threshold (..., K)."""
    return (scores[..., None, :] > thresholds[:, None]).mean(-1)


def improvement(first: Sample, second: Sample, seed: int = 0) -> Interval:
    """Probability that a run of one design is better than a run of the other, ties halved.

    P(X > Y) is the mean over all pairs of runs, as in the test of Mann and Whitney; runs of both are drawn again, each
    within its checkpoints. Where all pairs agree, draws cannot vary, and the interval is the exact one (Clopper and
    Pearson) of as many trials as the design of fewer runs has.

    Args:
        first: R runs.
        second: R' runs.
        seed: of the draws.
    """
    beats = (np.sign(first.means[:, None] - second.means[None, :]) + 1) / 2
    value = float(beats.mean())
    if value in (0.0, 1.0):
        trials = min(beats.shape)
        ends = stats.binomtest(round(value * trials), trials).proportion_ci(method="exact")
        return Interval(value, float(ends.low), float(ends.high))
    chosen = [_counts(sample, [seed, place]) for place, sample in enumerate((first, second))]
    draws = np.einsum("br,rs,bs->b", chosen[0], beats, chosen[1], optimize=True) / beats.size
    wider = max(stretch(first, RUNS), stretch(second, RUNS))
    found = Estimate(value, np.clip(value + wider * (draws - value), 0, 1), RUNS).interval
    assert found is not None
    return found


def _counts(sample: Sample, seed: list[int]) -> Float64[np.ndarray, "B R"]:
    """How often each run is drawn in each resample."""
    chosen = run_choices(tuple(strata(sample).tolist()), int(np.random.SeedSequence(seed).generate_state(1)[0]))
    counts: Float64[np.ndarray, "B R"] = (chosen[:, :, None] == np.arange(chosen.shape[1])).sum(1).astype(np.float64)
    return counts
