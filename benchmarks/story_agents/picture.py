"""Gold, contradictions and length over KL, one line a run, drawn from saved rows alone."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from textgym.benchmarks.oracle.unit import Row
from textgym.benchmarks.story_agents.measure import REFERENCE
from textgym.benchmarks.story_agents.plan import RECIPES
from textgym.benchmarks.story_agents.report import LIMITS

from textgym.text.store import write_atomic

COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b83280", "#718096", "#d69e2e", "#319795")
PANELS = ("gold", "contradictions", "length")


def draw(rows: Sequence[Row], target: Path) -> None:
    """Draws the runs on gold above, those on naive rewards below; nothing is written where there are none."""
    parts = [part for part in ("gold", "naive") if any(row["experiment"] == part for row in rows)]
    if not parts:
        return
    figure = Figure(figsize=(12, 3.6 * len(parts)), layout="constrained")
    FigureCanvasAgg(figure)
    for subfigure, part in zip(figure.subfigures(len(parts), 1, squeeze=False)[:, 0], parts, strict=True):
        subfigure.suptitle("learning from gold" if part == "gold" else "learning from naive rewards")
        axes = subfigure.subplots(1, len(PANELS))
        for panel, fact in zip(axes, PANELS, strict=True):
            _panel(panel, rows, part, fact)
        handles, labels = axes[PANELS.index("contradictions")].get_legend_handles_labels()
        subfigure.legend(handles, labels, loc="outside right center", fontsize=8, frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_atomic(target, picture.getvalue())


def _panel(axes: Any, rows: Sequence[Row], part: str, fact: str) -> None:
    """One fact over KL, a line a run from the model on; on gold also what does not learn and dotted what was asked."""
    yardsticks = {row["name"]: row["measured"]["sampled"] for row in rows if row["experiment"] == "compared"}
    own = yardsticks.get(REFERENCE)
    for kind, (colour, style, runs) in _runs(rows, part).items():
        for number, run in enumerate(runs):
            points = ([(0.0, own[fact])] if own else []) + [(look["kl"], look[fact]) for look in run]
            label = kind if number == 0 else None
            axes.plot(*zip(*points, strict=True), style, color=colour, label=label, marker=".", lw=1.2, alpha=0.8)
    for name, figures in yardsticks.items() if part == "gold" else ():
        if "kl" not in figures:
            axes.axhline(figures[fact], color="black", lw=0.8, label=name)
        elif name != REFERENCE:
            axes.plot(figures["kl"], figures[fact], "k*", label=name)
    if part == "gold":
        axes.axvline(LIMITS["kl"], color="grey", ls=":", lw=1)
        if own and fact in LIMITS:
            axes.axhline(LIMITS[fact] * own[fact], color="grey", ls=":", lw=1, label="asked")
    axes.set(xlabel="KL, nats a text", ylabel=f"{fact}, tokens" if fact == "length" else fact)
    axes.grid(alpha=0.3)


def _runs(rows: Sequence[Row], part: str) -> dict[str, tuple[str, str, list[list[dict[str, float]]]]]:
    """By case: a colour (of the agent, or of the reward), a line style (of the agent), the looks of each run."""
    found: dict[str, dict[int, list[dict[str, float]]]] = {}
    for row in rows:
        if row["experiment"] == part:
            found.setdefault(row["case"], {}).setdefault(row["turn"], []).append(row["measured"]["sampled"])
    subjects = list(dict.fromkeys(case.partition(", ")[2] or case for case in found))
    styles = dict(zip(RECIPES, ("-", "--", "-.", ":"), strict=False))
    return {
        case: (
            COLOURS[subjects.index(case.partition(", ")[2] or case) % len(COLOURS)],
            styles.get(case.partition(", ")[0], "-") if part == "naive" else "-",
            list(turns.values()),
        )
        for case, turns in found.items()
    }
