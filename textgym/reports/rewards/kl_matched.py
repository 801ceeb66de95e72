"""Designs at the same KL: gold at 1, 2, 4, 8 and 16 nats, its area over sqrt(KL), the upper envelope, best-of-n."""

from collections.abc import Mapping, Sequence

import numpy as np

from textgym.reports.blocks import Block, Cell, Column, Interval, Notice, Picture, Section, Table
from textgym.reports.canvas import PALETTE, floats
from textgym.reports.charts import Axis, Series, lines
from textgym.reports.rewards.arms import Bench
from textgym.reports.rewards.bootstrap import RUNS, TEXTS
from textgym.reports.rewards.frontier import Frontier, frontiers, picked
from textgym.reports.rewards.wording import DRAWN, listed, number

NATS = (1, 2, 4, 8, 16)
LEAST_BETAS = 6
GRID = 120
"""Points of an area, and of a line in the picture."""
CORPUS_FROM = 0.5
"""Gold quality that something in the picture reaches where the corpus is drawn: else it would press all else flat."""


def kl_matched(bench: Bench, seed: int) -> Section | None:
    """Gold at equal KL; None without runs at several betas whose truth and KL are known."""
    found = frontiers(bench)
    if not found:
        return None
    thin = [one.design for one in found if len(one.strengths) < LEAST_BETAS]
    blocks: list[Block] = []
    if thin:
        blocks.append(Notice("warning", f"Fewer than {LEAST_BETAS} values of beta: {listed(thin)}."))
    best_of = [one for one in picked(bench) if one.design in {own.design for own in found}]
    several = all(len(one.curves) > 1 for one in found)
    text = (
        "More KL buys more reward, so designs are compared at the same KL. Between the betas that were run, gold "
        "is linear in sqrt(KL), from the reference at 0 nats to the furthest run; nothing is said beyond it. A seed "
        "that was run at half of the betas or fewer is left out. KL is measured over the whole vocabulary at each "
        "token and summed along a text; that of best-of-n is known, "
        f"log n - (n - 1)/n. Intervals are {DRAWN[RUNS if several else TEXTS]}."
    )
    blocks += [equal_kl(found, best_of, seed), _picture(bench, found, best_of)]
    return Section("kl", "At the same KL", [text], blocks)


def at_nats(found: Sequence[Frontier], seed: int) -> dict[int, list[Interval | None]]:
    """By KL in nats, gold of each design; None beyond what it reached."""
    estimates = {nats: [one.estimate(np.array([np.sqrt(nats)]), seed) for one in found] for nats in NATS}
    return {nats: [own.interval if own else None for own in row] for nats, row in estimates.items()}


def equal_kl(found: Sequence[Frontier], best_of: Sequence[Frontier], seed: int) -> Table:
    """Gold of each design at 1, 2, 4, 8 and 16 nats, and its area as far as all that were trained reach."""
    common = min(one.reach for one in found)
    grid = np.linspace(0, common, GRID)
    every = [*found, *best_of]
    names = [one.design for one in found] + [f"{one.design}, best of n" for one in best_of]
    values = at_nats(every, seed)
    areas = [area.interval if (area := one.estimate(grid, seed)) else None for one in every]
    rows: list[list[Cell | Interval]] = [
        [name, *(values[nats][place] for nats in NATS), areas[place], one.reach**2, len(one.strengths)]
        for place, (name, one) in enumerate(zip(names, every, strict=True))
    ]
    marks = {}
    for column, own in enumerate([*(values[nats][: len(found)] for nats in NATS), areas[: len(found)]], 1):
        known = [(cell.value, place) for place, cell in enumerate(own) if cell is not None]
        if len(known) > 1:
            marks[max(known)[1], column] = "best"
    columns = [Column("design"), *(Column(f"at {nats} nats", about="gold quality at this KL") for nats in NATS)]
    columns.append(
        Column("area", 2, f"mean of gold over sqrt(KL) from 0 to {number(common**2, 1)} nats, which all reach")
    )
    columns += [
        Column("reached", 1, "nats, by every checkpoint and seed"),
        Column("settings", 0, "values of beta, or of n"),
    ]
    return Table("Gold quality at equal KL; the best of those that were trained is marked.", columns, rows, marks)


def _picture(bench: Bench, found: Sequence[Frontier], best_of: Sequence[Frontier]) -> Picture:
    series, best = [], np.full(GRID, np.nan)
    furthest = max(one.reach for one in found)
    grid = np.linspace(0, furthest, GRID)
    hues = _hues(bench, found)
    for one in found:
        own = one.at(grid)
        series.append(Series(one.design, grid**2, own, hue=hues[one.design]))
        best = np.fmax(best, own)
    if len(found) > 1:
        series.append(Series("upper envelope", grid**2, best, dashed=True, hue=_free(hues)))
    series += [_points(one, hues[one.design]) for one in best_of]
    highest = max(float(np.nanmax(floats(one.y))) for one in series)
    rules = {"reference": 0.0} if bench.has_scale else {}
    rules |= {"corpus": 1.0} if bench.has_scale and highest > CORPUS_FROM else {}
    drawn = lines(series, Axis("KL from the reference, nats a text", sqrt=True), Axis(bench.gold_label), hlines=rules)
    peaks = [(one, int(np.nanargmax(one.at(grid)))) for one in found]
    words = [
        f"{one.design}: highest {number(one.at(grid)[top])} at {number(grid[top] ** 2, 1)} nats" for one, top in peaks
    ]
    return Picture("Gold quality over KL, and the best of n by each reward.", drawn, "; ".join(words))


def _hues(bench: Bench, found: Sequence[Frontier]) -> dict[str, int]:
    """The colours that designs have in all pictures; their own of this one where those would not tell them apart."""
    usual = {one.design: bench.hue(one.arm) for one in found}
    apart = len({hue % len(PALETTE) for hue in usual.values()}) == len(found)
    return usual if apart else {name: place for place, name in enumerate(usual)}


def _free(hues: Mapping[str, int]) -> int:
    """A colour that none of them has, if there is one left."""
    used = {hue % len(PALETTE) for hue in hues.values()}
    return next((hue for hue in range(len(PALETTE)) if hue not in used), len(hues))


def _points(one: Frontier, hue: int) -> Series:
    distance, gold = (np.concatenate(column) for column in zip(*(own.points for own in one.curves), strict=True))
    return Series(f"{one.design}, best of n", distance**2, gold, points=True, hue=hue)
