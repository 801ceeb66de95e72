"""Pictures of results as SVG: lines, intervals and radars that read in light, in dark, on paper and without colours."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from textgym.reports.blocks import Interval
from textgym.reports.canvas import (
    GRID,
    PALETTE,
    SIZE,
    SOFT,
    Axis,
    Canvas,
    Numbers,
    Series,
    floats,
    rules,
    said,
    scale,
    short,
)
from textgym.reports.templates import shown

__all__ = ["Axis", "Panel", "Series", "bars", "lines", "radar", "small_multiples"]


@dataclass(frozen=True)
class Panel:
    """One of several pictures in one.

    Attributes:
        title: above it.
        series: what it shows.
        x: horizontal axis.
        y: vertical axis.
        hlines: heights with a line across, by what they are.
        vlines: the same upright.
    """

    title: str
    series: Sequence[Series]
    x: Axis
    y: Axis
    hlines: Mapping[str, float] = field(default_factory=dict)
    vlines: Mapping[str, float] = field(default_factory=dict)


def lines(
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    *,
    hlines: Mapping[str, float] | None = None,
    vlines: Mapping[str, float] | None = None,
) -> str:
    """Lines, bands and points in one frame, the legend below.

    Args:
        series: what is drawn.
        x: horizontal axis.
        y: vertical axis.
        hlines: heights with a line across, by what they are, e.g. {"reference": 0.0}.
        vlines: the same upright.

    Returns:
        An `svg` element.
    """
    return small_multiples([Panel("", series, x, y, hlines or {}, vlines or {})], columns=1)


def small_multiples(panels: Sequence[Panel], *, columns: int = 3) -> str:
    """Panels side by side with one legend; a name has the colour it had where it came first.

    Args:
        panels: in reading order; they share their axes where all of them are the same, and have a label: one without
            stands for whatever the title says.
        columns: beside each other.

    Returns:
        An `svg` element.
    """
    columns = max(min(columns, len(panels)), 1)
    rows = max(math.ceil(len(panels) / columns), 1)
    x, y = (len(found := {getattr(panel, axis) for panel in panels}) == 1 and bool(found.pop().label) for axis in "xy")
    with Canvas(height=3.5 if len(panels) < 2 else 2.2 * rows + 0.3) as canvas:
        canvas.share(sum(1 if one.low is None else 3 for panel in panels for one in panel.series))
        grid = list(canvas.figure.subplots(rows, columns, squeeze=False, sharex=x, sharey=y).flat)
        for axes, panel in zip(grid, panels, strict=False):
            _draw(canvas, axes, panel, ticks=7 if len(panels) == 1 else 4)
        for place, axes in enumerate(grid[: len(panels)]):  # what panels share stands once a row or a column
            below, left = not x or place + columns >= len(panels), not y or place % columns == 0
            axes.tick_params(labelbottom=below, labelleft=left)
            axes.xaxis.label.set_visible(below)
            axes.yaxis.label.set_visible(left)
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
    return canvas.svg


def bars(
    names: Sequence[str], intervals: Sequence[Interval | None], axis: Axis, *, vlines: Mapping[str, float] | None = None
) -> str:
    """A dot with its whiskers for each name, from the top down.

    Args:
        names: N.
        intervals: N; None is not known.
        axis: of the values.
        vlines: values with a line upright, by what they are, e.g. {"reference": 0.0}.

    Returns:
        An `svg` element.
    """
    with Canvas(height=0.27 * len(names) + 1.0) as canvas:
        axes = canvas.figure.subplots()
        known = [(place, one) for place, one in enumerate(intervals) if one is not None]
        middle = np.array([one.value for _, one in known])
        ends = np.array([(one.low, one.high) for _, one in known]).reshape(-1, 2)
        places = [place for place, _ in known]
        axes.hlines(places, ends[:, 0], ends[:, 1], color=PALETTE[0], lw=2)
        axes.plot(middle, places, "o", color=PALETTE[0], ms=6)
        axes.set_yticks(range(len(names)), [short(name) for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        scale(axes, axis, "x")
        rules(axes, {}, vlines or {})
        axes.grid(axis="x", color=GRID, lw=0.6)
        axes.spines["left"].set_visible(False)
    return canvas.svg


def radar(
    axes: Sequence[str],
    series: Mapping[str, Numbers],
    *,
    limits: tuple[float, float] | None = None,
    apart: bool = False,
) -> str:
    """Values on spokes, clockwise from the top.

    Args:
        axes: names of K spokes, 3 at least.
        series: by name, K values.
        limits: at the middle and at the rim; from the lowest value or 0, to the highest or 1, without.
        apart: a small radar for each series but the first, which stands behind all of them.

    Returns:
        An `svg` element.
    """
    values = {name: floats(numbers) for name, numbers in series.items()}
    known = np.concatenate([[0.0, 1.0], *(each[np.isfinite(each)] for each in values.values())])
    rim = limits or (float(known.min()), float(known.max()))
    first, *others = list(values) or [""]
    groups = [(name, [first, name]) for name in others] if apart and others else [("", list(values))]
    small, columns = len(groups) > 1, min(3, len(groups))
    rows = math.ceil(len(groups) / columns)
    with Canvas(height=1.8 * rows if small else 4.0) as canvas:
        grid = list(canvas.figure.subplots(rows, columns, squeeze=False).flat)
        for web, (title, names) in zip(grid, groups, strict=False):
            _web(web, axes, rim, size=SIZE - 3 if small else SIZE)
            web.set_title(short(title), fontsize=SIZE)
            for name in names:
                x, y = _around(np.clip(values[name], *rim), rim)
                place = int(name != first) if small else [first, *others].index(name)
                canvas.line(web, Series("" if small and name != first else name, x, y, dashed=name == first), place)
        for web in grid[len(groups) :]:
            web.set_axis_off()
    return canvas.svg


def _draw(canvas: Canvas, axes: Axes, panel: Panel, ticks: int) -> None:
    axes.set_title(shown(panel.title), fontsize=SIZE)
    scale(axes, panel.x, "x", ticks)
    scale(axes, panel.y, "y", ticks)
    for place, one in enumerate(panel.series):
        canvas.line(axes, one, place)
    rules(axes, panel.hlines, panel.vlines)
    axes.grid(color=GRID, lw=0.6)


def _web(axes: Axes, names: Sequence[str], limits: tuple[float, float], size: float) -> None:
    """Spokes with their names, and rings with what they stand for."""
    axes.set_axis_off()
    wide = 2.0 if size < SIZE else 2.3
    axes.set(xlim=(-wide, wide), ylim=(-1.25, 1.3), aspect="equal")
    rings = MaxNLocator(3 if size < SIZE else 5, steps=[1, 2, 2.5, 5, 10]).tick_values(*limits)
    for ring in (ring for ring in rings if limits[0] < ring <= limits[1] + 1e-9):
        x, y = _around(np.full(len(names), ring), limits)
        axes.plot(x, y, color=GRID, lw=0.6)
        axes.text(0.03, y[0], said(ring), color=SOFT, fontsize=size - 2, va="center")
    for name, x, y in zip(names, *_around(np.full(len(names), limits[1]), limits), strict=False):
        axes.plot([0, x], [0, y], color=GRID, lw=0.6)
        side = "center" if abs(x) < 0.1 else "left" if x > 0 else "right"
        axes.text(1.06 * x, 1.1 * y, shown(name), ha=side, va="center", fontsize=size, in_layout=False)


def _around(values: np.ndarray, limits: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """A closed line through one value a spoke."""
    angles = np.linspace(0, 2 * np.pi, len(values) + 1)
    radii = (np.append(values, values[:1]) - limits[0]) / (limits[1] - limits[0])
    return radii * np.sin(angles), radii * np.cos(angles)
