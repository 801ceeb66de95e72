"""`speed.png`: the race, the growth with T, and where the time goes, drawn from saved rows alone."""

import io
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from textgym.benchmarks.speed import derive
from textgym.benchmarks.speed.breakdown import PARTS
from textgym.benchmarks.speed.experiments import OBVIOUS, OURS, TRL, TRL_WHOLE
from textgym.benchmarks.speed.report import plain, shares
from textgym.benchmarks.speed.rows import Row

from textgym.text.store import write_atomic

COLOURS = dict(
    zip(PARTS, ("#4c9f70", "#f2b134", "#2b6cb0", "#90cdf4", "#b83280", "#d53f8c", "#f687b3", "#a0aec0"), strict=True)
)
"""Environment green, scoring yellow, the rollout blue, training red, the rest grey."""

DARK = ("environment", "rollout forward", "training forward", "backward")
"""What is written on in white."""


def draw(rows: Sequence[Row], target: Path) -> None:
    """Draws what there are rows for as a PNG; nothing is written where there are none."""
    panels = [panel for panel, known in ((_race, "race"), (_lengths, "lengths")) if derive.cases(rows, known)]
    profiled = shares(rows)
    if not panels and not profiled:
        return
    heights = [3.2] * bool(panels) + [1.5 + 0.45 * len(profiled)] * bool(profiled)
    figure = Figure(figsize=(10, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    if panels:
        for axes, panel in zip(parts[0].subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            panel(axes, rows)
    if profiled:
        _profile(parts[-1], profiled)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_atomic(target, picture.getvalue())


def _race(axes: Any, rows: Sequence[Row]) -> None:
    """Tokens a second of each side, logarithmic: the sides lie two orders apart."""
    names = (OBVIOUS, TRL_WHOLE, TRL, OURS)
    speeds = {name: list(derive.figures(rows, "race", "setting A", name, derive.RATE).values()) for name in names}
    speeds = {name: speed for name, speed in speeds.items() if speed}
    values = [median(speed) for speed in speeds.values()]
    bars = axes.barh(list(speeds), values, color=["#2b6cb0" if name == OURS else "#a0aec0" for name in speeds])
    axes.bar_label(bars, [plain(value) for value in values], padding=3)
    axes.set(xscale="log", xlabel="tokens a second", title="PPO end to end, setting A")
    axes.set_xlim(min(values) / 2, max(values) * 4)
    axes.xaxis.set_minor_formatter(NullFormatter())


def _lengths(axes: Any, rows: Sequence[Row]) -> None:
    """Our cost a token with and without attention, and the obvious way's, by T."""
    known = derive.cases(rows, "lengths")
    budgets = [int(case.removeprefix("T = ")) for case in known]
    obvious = [list(derive.figures(rows, "lengths", case, OBVIOUS, derive.RATE).values()) for case in known]
    lines = {
        "the obvious way": [[1e6 / speed for speed in speeds] for speeds in obvious],
        "textgym": [derive.cost_per_token(rows, case, attention=True) for case in known],
        "textgym, attention aside": [derive.cost_per_token(rows, case, attention=False) for case in known],
    }
    styles = ({"color": "#718096"}, {"color": "#2b6cb0"}, {"color": "#2b6cb0", "linestyle": "--"})
    for (label, costs), style in zip(lines.items(), styles, strict=True):
        points = [(budget, median(cost)) for budget, cost in zip(budgets, costs, strict=True) if cost]
        axes.plot(*zip(*points, strict=True), label=label, marker="o", markersize=4, **style)
    axes.set(xscale="log", yscale="log", xlabel="T", ylabel="µs a token", title="Cost of a token by length")
    axes.set_xticks(budgets, [str(budget) for budget in budgets])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)


def _profile(figure: Any, profiled: dict[str, dict[str, float]]) -> None:
    """One stacked bar a case; shares of 4% and more are written in."""
    axes = figure.subplots()
    names = list(profiled)[::-1]
    left = [0.0] * len(names)
    for part in PARTS:
        widths = [100 * profiled[name][part] for name in names]
        bars = axes.barh(names, widths, left=left, color=COLOURS[part], label=part, height=0.7)
        ink = "white" if part in DARK else "black"
        axes.bar_label(bars, [f"{w:.0f}" if w >= 4 else "" for w in widths], label_type="center", fontsize=8, color=ink)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set(xlim=(0, 100), xlabel="% of the wall time", title="Where the time goes")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=8, fontsize=8, frameon=False)
