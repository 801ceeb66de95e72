"""Learning curves with the optimum, soft returns with theirs, and whom agents credit, drawn from saved rows alone."""

import io
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from textgym.benchmarks.oracle.report import AIM
from textgym.benchmarks.oracle.unit import Row

from textgym.text.store import write_atomic

FLOOR = 1e-5
"""Regrets below are drawn here: the scale is logarithmic, and some are 0."""

STYLES = ("-", "--", "-.", ":")


def draw(rows: Sequence[Row], target: Path) -> None:
    """Draws what there are rows for as a PNG; nothing is written where there are none."""
    curves = [row for row in rows if row["experiment"] == "regret"]
    panels = [
        (world, [row for row in curves if row["world"] == world and "beta" not in row], "sampled")
        for world in dict.fromkeys(row["world"] for row in curves)
    ]
    panels.append(("near a reference", [row for row in curves if "beta" in row], "soft"))
    panels = [panel for panel in panels if panel[1]]
    if not panels:
        return
    figure = Figure(figsize=(5 * len(panels), 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, own, what) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _curves(axes, title, own, what)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_atomic(target, picture.getvalue())


def _curves(axes: Any, title: str, rows: Sequence[Row], what: str) -> None:
    """The median regret over seeds by tokens; the optimum is 0, the uniform policy 1."""
    names = dict.fromkeys(row["name"] for row in rows)
    for place, name in enumerate(names):
        points = _median_curve([row for row in rows if row["name"] == name], what)
        style = STYLES[place // 10 % len(STYLES)]
        if len(points) == 1:  # it learns nothing
            if what == "soft":
                axes.axhline(points[0][1], color="grey", linewidth=0.8, linestyle=":", label=name)
            continue
        axes.plot(*zip(*points, strict=True), style, color=f"C{place % 10}", label=name, linewidth=1.2)
    axes.axhline(AIM, color="black", linewidth=0.8, linestyle="--")
    axes.axhline(FLOOR, color="black", linewidth=1.5)
    axes.text(0, FLOOR * 1.15, "the optimum", fontsize=8)
    axes.text(0, AIM * 1.1, "1%", fontsize=8)
    axes.set(yscale="log", ylim=(FLOOR * 0.9, 2), xlabel="tokens", title=title)
    axes.set_ylabel("soft regret" if what == "soft" else "regret, sampled")
    axes.xaxis.set_major_formatter(lambda tokens, _: f"{tokens / 1000:.0f}k")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6.5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)


def _median_curve(rows: Sequence[Row], what: str) -> list[tuple[float, float]]:
    """(tokens, regret), medians over the runs' points of the same number."""
    curves: list[list[dict[str, float]]] = [row.get("curve", [row["measured"]]) for row in rows]
    points = zip(*curves, strict=False)
    return [
        (median(each["tokens"] for each in point), max(median(each[what] for each in point), FLOOR)) for point in points
    ]
