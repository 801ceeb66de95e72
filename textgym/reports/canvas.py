"""A figure of matplotlib's that becomes SVG for a page: colours the page sets, marks beside them, one legend below."""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, NullLocator
from matplotlib.transforms import Transform, blended_transform_factory

from textgym.reports.svg import tidied
from textgym.reports.templates import shown

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#b8608f", "#b97a00", "#2e8fc9", "#6b5fb5")
"""Okabe and Ito (2008), the light ones darkened to 3 to 1 on white; a page may set others as --series-1 to -7."""

MARKERS = "osD^vPX*"
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
INK, SOFT, GRID = "#000000", "#555556", "#d0d0d1"
COLOURS = {INK: "currentColor", SOFT: f"var(--soft, {SOFT})", GRID: f"var(--grid, {GRID})"} | {
    colour: f"var(--series-{place}, {colour})" for place, colour in enumerate(PALETTE, 1)
}
WIDTH, SIZE = 7.0, 10.0
"""Of a picture in inches, of its letters in points."""

MOST_POINTS = 1000
"""Of all lines of a picture together, edges of bands among them: of more, the means of equal parts are drawn."""

Numbers = Sequence[float | None] | np.ndarray
"""None and NaN are not known: a line has a gap there."""


@dataclass(frozen=True)
class Series:
    """What is drawn in one colour.

    Attributes:
        name: in the legend; "" for none.
        x: N values.
        y: N values.
        low: N lower ends of intervals, drawn as a band, or as whiskers where there are points alone.
        high: N upper ends.
        dashed: a broken line.
        points: points alone, without a line.
        hue: which colour and mark, from 0, so that a design looks alike in all pictures; by place without.
    """

    name: str
    x: Numbers
    y: Numbers
    low: Numbers | None = None
    high: Numbers | None = None
    dashed: bool = False
    points: bool = False
    hue: int | None = None


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        label: what it measures and in what.
        log: a logarithmic scale.
        sqrt: a scale of square roots, as is usual of KL.
        limits: where it begins and ends; from the data without.
    """

    label: str
    log: bool = False
    sqrt: bool = False
    limits: tuple[float, float] | None = None


class Canvas:
    """A figure in the making; on leaving, its legend is drawn and `svg` is there."""

    def __init__(self, height: float) -> None:
        self._height = height
        self.entries: dict[str, tuple[int, Any]] = {}
        self.share(1)
        self.svg = ""

    def __enter__(self) -> "Canvas":
        self._settings = matplotlib.rc_context(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": "textgym",
                "text.parse_math": False,  # a name with $ in it is no formula
                "font.size": SIZE,
                "axes.labelcolor": INK,
                "axes.edgecolor": SOFT,
                "xtick.color": SOFT,
                "ytick.color": SOFT,
                "xtick.labelcolor": INK,
                "ytick.labelcolor": INK,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.facecolor": "none",
            }
        )
        self._settings.__enter__()
        self.figure = Figure(figsize=(WIDTH, self._height), layout="constrained", facecolor="none")
        FigureCanvasSVG(self.figure)
        return self

    def __exit__(self, *raised: Any) -> None:
        try:
            if raised[0] is None:
                self._finish()
        finally:
            self._settings.__exit__(*raised)

    def share(self, lines: int) -> None:
        """Keeps a picture of so many lines small."""
        self._points = max(min(MOST_POINTS // max(lines, 1), 150), 16)
        self._marks = max(min(120 // max(lines, 1), 8), 2)

    def line(self, axes: Axes, one: Series, place: int) -> None:
        """Draws a series; without a colour of its own it has that of its name, else of its place."""
        known = self.entries.get(one.name)
        hue = one.hue if one.hue is not None else known[0] if known and one.name else place
        colour, thin = PALETTE[hue % len(PALETTE)], 1 if one.points else math.ceil(len(one.x) / self._points)
        x, y = _thinned(one.x, thin), _thinned(one.y, thin)
        style = (0, (4, 2)) if one.dashed else DASHES[hue // len(PALETTE) % len(DASHES)]
        if one.low is not None and one.high is not None:
            low, high = _thinned(one.low, thin), _thinned(one.high, thin)
            if one.points:
                axes.vlines(x, low, high, color=colour, lw=1.2)
            else:
                axes.fill_between(x, low, high, color=colour, alpha=0.14, lw=0)
        (drawn,) = axes.plot(
            x,
            y,
            ls="none" if one.points else style,
            color=colour,
            lw=1.8,
            marker=MARKERS[hue % len(MARKERS)],
            ms=5,
            mec="none",
            markevery=None if one.points else max(len(x) // self._marks, 1),  # a curve of many points stays a line
        )
        if one.name:
            self.entries.setdefault(one.name, (hue, drawn))

    def _finish(self) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # the reader's fonts draw the letters, not matplotlib's
            if self.entries:
                names = [short(name) for name in self.entries]
                columns = max(1, min(len(names), int(WIDTH / (0.6 + 0.075 * max(map(len, names))))))
                self.figure.set_figheight(self._height + 0.22 * math.ceil(len(names) / columns) + 0.1)
                handles = [drawn for _, drawn in self.entries.values()]
                self.figure.legend(
                    handles, names, loc="outside lower center", ncols=columns, frameon=False, handlelength=2.8
                )
            picture = io.StringIO()
            self.figure.savefig(picture, format="svg", metadata={"Date": None, "Creator": None})
        self.svg = tidied(picture.getvalue(), COLOURS)


def scale(axes: Axes, axis: Axis, which: str, ticks: int = 7) -> None:
    """Sets up the "x" or "y" axis of a frame, with about so many ticks."""
    scale_to, along = getattr(axes, f"set_{which}scale"), getattr(axes, f"{which}axis")
    getattr(axes, f"set_{which}label")(shown(axis.label))
    if axis.log:
        scale_to("log")
    elif axis.sqrt:
        scale_to("function", functions=(lambda v: np.sign(v) * np.abs(v) ** 0.5, lambda v: np.sign(v) * v**2))
        along.set_major_locator(_Doubling())
        along.set_minor_locator(NullLocator())
    else:
        along.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10]))
    along.set_major_formatter(FuncFormatter(lambda value, _: said(value)))
    if axis.limits is not None:
        getattr(axes, f"set_{which}lim")(axis.limits)


class _Doubling(Locator):
    """0 and the five highest powers of 2: 1, 2, 4, 8 and 16 nats are where rewards are compared."""

    def __call__(self) -> list[float]:
        high = max(map(float, self.axis.get_view_interval())) if self.axis else 0.0
        return [0.0, *(2.0 ** (math.floor(math.log2(high)) - power) for power in range(5))] if high > 0 else [0.0]

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        return self()


def said(value: float) -> str:
    """A number at a tick: 200,000 as 200k."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * size or (abs(value) >= size and letter == "M"):
            return f"{value / size:g}{letter}"
    return f"{round(value, 9) + 0.0:g}".replace("-", "\N{MINUS SIGN}", 1)  # no -0


def rules(axes: Axes, hlines: Mapping[str, float], vlines: Mapping[str, float]) -> None:
    """Draws lines across and upright, each with its name where it meets the rim."""
    for name, value in hlines.items():
        axes.axhline(value, color=SOFT, lw=1, ls=(0, (2, 2)))
        place = blended_transform_factory(axes.transAxes, axes.transData)
        _name(axes, name, (1, value), (-2, 2), place, "right")
    for name, value in vlines.items():
        axes.axvline(value, color=SOFT, lw=1, ls=(0, (2, 2)))
        place = blended_transform_factory(axes.transData, axes.transAxes)
        _name(axes, name, (value, 1), (0, 2), place, "center")


def _name(
    axes: Axes, name: str, xy: tuple[float, float], away: tuple[float, float], place: Transform, side: str
) -> None:
    label = axes.annotate(shown(name), xy, away, xycoords=place, textcoords="offset points", ha=side, va="bottom")
    label.set(color=SOFT, fontsize=SIZE - 1)


def floats(values: Numbers) -> np.ndarray:
    """Values with NaN for what is not known."""
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _thinned(values: Numbers, parts: int) -> np.ndarray:
    """Means of so many values after each other; one that is not known makes its part unknown."""
    numbers = floats(values)
    return np.add.reduceat(numbers, starts := np.arange(0, len(numbers), parts)) / np.diff([*starts, len(numbers)])


def short(name: str) -> str:
    """At most 36 letters; tables have the whole name."""
    seen = shown(name)
    return seen if len(seen) <= 36 else f"{seen[:22]}…{seen[-13:]}"
