"""How each design did: truth, reward, KL and verdict; what the leaderboard and the summary are made of."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from textgym.reports.blocks import Interval
from textgym.reports.rewards.arms import Arm, Bench, paired
from textgym.reports.rewards.bootstrap import BOTH, RUNS, Estimate, Sample, estimate
from textgym.reports.rewards.runs import GREEDY, SAMPLED
from textgym.reports.verdict import REWARD, TRUTH, Verdict, verdict

_READS_TRUTH = re.compile(r"\bgold\b")


@dataclass(frozen=True, eq=False)
class Standing:
    """What became of a design.

    Attributes:
        arm: its runs.
        gold: gold quality of sampled texts, on the scale if there is one, else as it is.
        change: of gold quality against the reference, brief by brief.
        reward: the same of what it was paid.
        kl: nats a text from the reference.
        verdict: on the two changes; None where one of them is not known.
    """

    arm: Arm
    gold: Estimate
    change: Estimate | None
    reward: Estimate | None
    kl: Interval | None
    verdict: Verdict | None

    @property
    def reads_truth(self) -> bool:
        """Whether the reward is made of the truth: a yardstick that nobody has outside a world."""
        return bool(_READS_TRUTH.search(self.arm.job["reward"]))


def standings(bench: Bench, arms: Sequence[Arm], seed: int) -> list[Standing]:
    """Of designs whose texts' gold quality is known, the best first.

    Args:
        bench: with their yardsticks.
        arms: runs of the designs.
        seed: of the bootstrap.
    """
    found = [standing for arm in arms if (standing := _standing(bench, arm, seed)) is not None]
    return sorted(found, key=lambda standing: -standing.gold.value)


def known(sample: Sample | None, seed: int, unit: str = RUNS) -> Interval | None:
    """The interquartile mean of a sample with its interval, where there is a sample."""
    return None if sample is None else estimate(sample, unit=unit, seed=seed).interval


def share(interval: Interval | None) -> Interval | None:
    """An interval of a share: nothing of it is below 0 or above 1."""
    return interval and Interval(interval.value, max(interval.low, 0.0), min(interval.high, 1.0))


def kl_of(arm: Arm, seed: int) -> Interval | None:
    """Nats a text: measured on sampled texts, or known of best-of-n; no interval goes below 0."""
    measured = known(arm.sample(lambda run: run.values("kl")), seed)
    if measured is not None:
        return replace(measured, low=max(measured.low, min(measured.value, 0.0)))
    values = [run.kl for run in arm.runs if np.isfinite(run.kl)]
    return Interval(*[float(np.mean(values))] * 3) if values else None


def win_rate(bench: Bench, arm: Arm, column: str = TRUTH, way: str = SAMPLED) -> Sample | None:
    """1 where a text is better than the reference's about the same brief, 0 where it is worse, between them a tie."""
    change = bench.change(arm, column, way)
    return None if change is None else Sample((np.sign(change.values) + 1) / 2, change.strata)


def ahead(bench: Bench, first: Arm, second: Arm, seed: int) -> Estimate | None:
    """Gold quality of one design minus that of another, over paired runs."""
    sample = paired(first, second, bench.truth)
    return None if sample is None else estimate(sample, unit=RUNS, seed=seed)


def greedy(bench: Bench, arm: Arm, seed: int) -> Interval | None:
    """Gold quality of greedy texts."""
    return known(bench.gold(arm, GREEDY), seed)


def _standing(bench: Bench, arm: Arm, seed: int) -> Standing | None:
    truth = bench.gold(arm)
    if truth is None:
        return None
    samples = {name: bench.change(arm, name) for name in (REWARD, TRUTH)}
    changes = {name: estimate(one, unit=BOTH, seed=seed) for name, one in samples.items() if one is not None}
    intervals = {name: ends for name, change in changes.items() if (ends := change.interval) is not None}
    return Standing(
        arm,
        estimate(truth, unit=RUNS, seed=seed),
        changes.get(TRUTH),
        changes.get(REWARD),
        kl_of(arm, seed),
        verdict(intervals),
    )
