"""Where more of a reward becomes less of the truth: fitted laws, their peaks, and what is lost after them."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from textgym.reports.blocks import Cell, Column, Interval, Picture, Section, Table
from textgym.reports.charts import Axis, Panel, Series, small_multiples
from textgym.reports.rewards.arms import Bench
from textgym.reports.rewards.bootstrap import TEXTS, Estimate
from textgym.reports.rewards.distance import curve
from textgym.reports.rewards.frontier import SAME
from textgym.reports.rewards.gao import BEST_OF_N, RL, Fit, Law, fit
from textgym.reports.rewards.runs import SAMPLED, Look, Run
from textgym.reports.rewards.wording import number

EXPERIMENTS = ("designs", "kl", "proxies", "sentiment")
GRID = 60
MOST_PANELS = 12
"""Laws that are drawn; all of them are in the table."""


def over_optimisation(bench: Bench, seed: int) -> Section | None:
    """A law for each reward of which there are enough points; None where there are none."""
    fits = fitted(bench, seed)
    if not fits:
        return None
    text = (
        "Gold gained is fitted as a function of the distance from the reference, d = sqrt(KL): d (alpha - beta log d) "
        "for runs, at all their evaluations and values of beta, and d (alpha - beta d) for the best of n, over n (Gao "
        "et al. 2022). Alpha is how much a reward helps at first, beta how soon it stops helping. Beyond its peak, "
        "more of the reward is less truth. By least squares; intervals are over runs, or texts if there is one."
    )
    return Section("over-optimisation", "Over-optimisation", [text], [_table(fits), _picture(fits)])


def fitted(bench: Bench, seed: int) -> dict[tuple[str, Law], Fit]:
    """By reward and law, the fit; rewards with too few points are left out."""
    fits = {}
    for law, kind in ((RL, "training"), (BEST_OF_N, "best_of_n")):
        runs = [run for run in bench.runs if run.job["kind"] == kind and run.job["experiment"] in EXPERIMENTS]
        for name, own in _named(runs).items():
            families: dict[tuple[int, int], list[Run]] = {}
            for run in _of_one_setting(own):
                families.setdefault((run.job["checkpoint"], run.job["seed"]), []).append(run)
            curves = [one for family in families.values() if (one := curve(bench, _looks(family))) is not None]
            found = fit(law, curves, seed) if curves else None
            if found is not None:
                fits[name, law] = found
    return fits


def _named(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs that differ in strength alone, by design, and by what else is varied where the name does not say it."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        varied = {name: value for name, value in run.job["variant"].items() if name not in ("beta", "n")}
        told = ", ".join(f"{name} {value}" for name, value in varied.items())
        groups.setdefault((run.job["design"], told), []).append(run)
    counts = Counter(design for design, _ in groups)
    return {
        f"{design}, {told or 'as planned'}" if counts[design] > 1 else design: own
        for (design, told), own in groups.items()
    }


def _of_one_setting(runs: Sequence[Run]) -> list[Run]:
    """Runs that differ in beta alone: those like the first one that was run with several, else like the first."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(json.dumps([run.job.get(name) for name in SAME], sort_keys=True), []).append(run)
    return max(groups.values(), key=len)


def _looks(runs: Sequence[Run]) -> list[tuple[Run, Look]]:
    """All evaluations of sampled texts after learning began."""
    return [
        (run, look) for run in runs for look in run.looks if look.way == SAMPLED and (look.final or look.tokens > 0)
    ]


def _table(fits: Mapping[tuple[str, Law], Fit]) -> Table:
    rows = [_row(name, found) for (name, _), found in fits.items()]
    marks = {
        (place, 4): "beyond these rows" if np.isfinite(found.peak) else "none"
        for place, found in enumerate(fits.values())
        if found.peak > found.furthest**2
    }
    columns = [
        Column("reward"),
        Column("by"),
        Column("alpha", 3),
        Column("beta", 3),
        Column("peak", 1, "KL in nats at which gold is highest by the law"),
        Column("lost after it", 3, "gold quality at the peak minus that at the furthest point, by the law"),
        Column("furthest", 1, "nats that were reached"),
        Column("R^2", 2, "share of the variance of gold gained that the law explains"),
        Column("points", 0),
    ]
    notes = ["A peak beyond the furthest point is not told: a law says little about where it was not fitted."]
    if any(found.unit == TEXTS for found in fits.values()):
        notes.append("Intervals are over texts where a reward has one run, and hold for that run.")
    return Table("Fitted laws of over-optimisation.", columns, rows, marks, notes)


def _row(name: str, found: Fit) -> list[Cell | Interval]:
    alpha, beta = (Estimate(float(found.coefficients[i]), found.draws[:, i], found.unit).interval for i in (0, 1))
    passed = found.peak <= found.furthest**2
    lost = Estimate(float(found.lost(found.coefficients)), found.lost(found.draws), found.unit).interval
    after, furthest = (lost if passed else None), found.furthest**2
    return [name, found.law.name, alpha, beta, _peak(found), after, furthest, found.explained, len(found.d)]


def _peak(found: Fit) -> Cell | Interval:
    """Within reach, with its interval where that ends."""
    if found.peak > found.furthest**2:
        return None
    low, high = np.nanpercentile(found.drawn_peaks, [2.5, 97.5], method="nearest")  # some may be infinite
    return Interval(found.peak, min(low, found.peak), max(high, found.peak)) if np.isfinite(high) else found.peak


def _picture(fits: Mapping[tuple[str, Law], Fit]) -> Picture:
    x, y = Axis("KL, nats a text", sqrt=True), Axis("gold gained")
    panels, words = [], []
    for (name, law), found in fits.items():
        grid = np.linspace(0, found.furthest, GRID)
        measured = Series("measured", found.d**2, found.gained, points=True, hue=0)
        by_law = Series("by the law", grid**2, found.law.gold(found.coefficients, grid), hue=1)
        panels.append(Panel(name if law is RL else f"{name}, best of n", [measured, by_law], x, y))
        peak = f"peak at {number(found.peak, 1)} nats" if found.peak <= found.furthest**2 else "no peak within reach"
        words.append(f"{panels[-1].title}: {peak}")
    drawn = small_multiples(panels[:MOST_PANELS])
    return Picture("Gold gained over KL, measured and by the fitted law.", drawn, "; ".join(words))
