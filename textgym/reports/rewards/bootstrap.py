"""Interquartile means with their 95% intervals: what is resampled, and how much wider few runs make an interval.

A design's figure is the interquartile mean over its runs, each a mean over texts. Its interval comes from the
stratified bootstrap (Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice"):

- *runs*: runs are drawn again within each checkpoint; the briefs are those of the benchmark, the same for all. This is
  for comparisons of designs: what would differ if the experiment were repeated.
- *texts*: the briefs are drawn again, the same ones for each run and each design. All that one run allows: it holds for
  that run, not for the design.
- *both*: briefs and runs, which are crossed (Owen 2007, "The pigeonhole bootstrap"): each is drawn again on its own,
  and the two deviations are added. This is for what a design does to texts, also those about other briefs.

Percentile intervals of few runs are too narrow: two identical designs of five runs came out as different one time in
six. The draws are therefore stretched about the estimate by sqrt(R / (R - S)) t(R - S) / z, R runs in S strata, as
Student's t and the missing degrees of freedom ask for (Hesterberg 2015, "What teachers should know about the
bootstrap", section 4). With many runs nothing is changed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from scipy import stats

from textgym.reports.blocks import Interval

RESAMPLES = 2000
LEVEL = 0.95

RUNS, TEXTS, BOTH = "runs", "texts", "both"
"""What is drawn again."""

Statistic = Callable[[Float64[np.ndarray, "*rows R"]], Any]
"""Of R runs, over the last axis."""


@dataclass(frozen=True, eq=False)
class Sample:
    """What is known of a design: a value of each text of each run.

    Attributes:
        values: (R, N); NaN is not known.
        strata: of each run, its checkpoint (R,).
    """

    values: Float64[np.ndarray, "R N"]
    strata: Int64[np.ndarray, " R"]

    @property
    def means(self) -> Float64[np.ndarray, " R"]:
        """Of each run, over the texts where it is known."""
        known = ~np.isnan(self.values)
        return _ratio(np.where(known, self.values, 0).sum(1), known.sum(1).astype(np.float64))


@dataclass(frozen=True, eq=False)
class Estimate:
    """A figure and what it might have been.

    Attributes:
        value: the figure; NaN is not known.
        draws: of the bootstrap, stretched (B,).
        unit: what was drawn again: "runs", "texts" or "both".
    """

    value: float
    draws: Float64[np.ndarray, " B"]
    unit: str

    @property
    def interval(self) -> Interval | None:
        """With the 95% percentile interval; None where it is not known."""
        known = self.draws[np.isfinite(self.draws)]
        if not np.isfinite(self.value) or not len(known):
            return None
        low, high = np.percentile(known, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
        return Interval(self.value, min(float(low), self.value), max(float(high), self.value))

    @property
    def certainty(self) -> float:
        """Share of the draws above 0, those at 0 halved."""
        known = self.draws[np.isfinite(self.draws)]
        return float(((known > 0) + 0.5 * (known == 0)).mean()) if len(known) else float("nan")


def iqm(values: Float64[np.ndarray, "*rows R"]) -> Any:
    """Interquartile mean over the last axis; of fewer than four values, their mean.

    `scipy.stats.trim_mean` of a quarter, without its checks, which take longer than the work.
    """
    cut = values.shape[-1] // 4
    if not cut:
        return values.mean(-1)
    return np.partition(values, (cut, values.shape[-1] - cut - 1), axis=-1)[..., cut : values.shape[-1] - cut].mean(-1)


def estimate(sample: Sample, statistic: Statistic = iqm, *, unit: str = RUNS, seed: int = 0) -> Estimate:
    """A statistic of runs with what the bootstrap makes of it.

    Args:
        sample: R runs of N texts.
        statistic: over the last axis of (..., R) means of runs.
        unit: what is drawn again; "texts" where there is one run, whatever is asked for. One text of one run has no
            interval.
        seed: of the draws; samples of the same shape and strata are drawn alike, so that differences are paired.
    """
    unit = unit if len(sample.strata) > 1 else TEXTS
    value = float(statistic(sample.means))
    if sample.values.size == 1:
        return Estimate(value, np.empty(0), unit)
    parts = (RUNS, TEXTS) if unit == BOTH else (unit,)
    deviations = [stretch(sample, part) * (resampled(sample, statistic, part, seed) - value) for part in parts]
    return Estimate(value, value + np.sum(deviations, axis=0), unit)


def resampled(sample: Sample, statistic: Statistic, unit: str, seed: int) -> Float64[np.ndarray, " B"]:
    """The statistic of each resample of runs, or of texts, as it is."""
    if unit == RUNS:
        return np.asarray(statistic(sample.means[run_choices(tuple(strata(sample).tolist()), seed)]), np.float64)
    counts, known = text_counts(sample.values.shape[1], seed), ~np.isnan(sample.values)
    sums = counts @ np.where(known, sample.values, 0).T
    drawn = float(sample.values.shape[1]) if known.all() else counts @ known.T.astype(np.float64)
    return np.asarray(statistic(_ratio(sums, np.broadcast_to(drawn, sums.shape))), np.float64)


def strata(sample: Sample) -> Int64[np.ndarray, " R"]:
    """Checkpoints; where one of them has a single run, all runs are one stratum: alone it would never vary."""
    _, own, counts = np.unique(sample.strata, return_inverse=True, return_counts=True)
    return own.astype(np.int64) if counts.min() > 1 else np.zeros(len(own), np.int64)


def stretch(sample: Sample, unit: str) -> float:
    """How much further from the estimate than the draws an interval must reach; 1 for many runs or texts."""
    size, groups = (sample.values.shape[1], 1) if unit == TEXTS else (len(sample.strata), len(set(strata(sample))))
    return _stretch(size, size - groups)


@lru_cache(maxsize=256)
def _stretch(size: int, freedom: int) -> float:
    if freedom < 1:
        return 1.0
    half = (1 + LEVEL) / 2
    return float(np.sqrt(size / freedom) * stats.t.ppf(half, freedom) / stats.norm.ppf(half))


@lru_cache(maxsize=8)
def text_counts(texts: int, seed: int) -> Float64[np.ndarray, "B N"]:
    """How often each text is drawn in each resample."""
    rng = np.random.default_rng([seed, 0])
    return rng.multinomial(texts, np.full(texts, 1 / texts), size=RESAMPLES).astype(np.float64)


@lru_cache(maxsize=64)
def run_choices(groups: tuple[int, ...], seed: int) -> Int64[np.ndarray, "B R"]:
    """Which runs each resample is made of: as many of each stratum as there are."""
    rng, own = np.random.default_rng([seed, 1]), np.array(groups)
    chosen = np.empty((RESAMPLES, len(own)), np.int64)
    for group in np.unique(own):
        members = np.flatnonzero(own == group)
        chosen[:, members] = members[rng.integers(len(members), size=(RESAMPLES, len(members)))]
    return chosen


def _ratio(sums: Float64[np.ndarray, "..."], counts: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
    """NaN where nothing was counted."""
    found = np.full(np.shape(sums), np.nan)
    np.divide(sums, counts, out=found, where=counts > 0)
    return found
