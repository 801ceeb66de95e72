"""Gold, contradictions and length over KL, one line a run, drawn from saved rows alone."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from textgym.benchmarks.oracle.unit import Row
from textgym.benchmarks.story_agents.measure import REFERENCE
from textgym.benchmarks.story_agents.plan import COLLAPSES
from textgym.benchmarks.story_agents.report import LIMITS

from textgym.text.store import write_atomic

COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b83280", "#718096", "#d69e2e", "#319795")
STYLES = ("-", "--", "-.", ":")
PANELS = ("gold", "contradictions", "length")
LEGEND: dict[str, Any] = {"loc": "outside right center", "fontsize": 8, "frameon": False, "handlelength": 3}


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
        subfigure.legend(handles=_legend(axes[PANELS.index("contradictions")]), **LEGEND)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_atomic(target, picture.getvalue())


def _panel(axes: Any, rows: Sequence[Row], part: str, fact: str) -> None:
    """One fact over KL, a line a run from the model on; on gold also what does not learn and dotted what was asked."""
    yardsticks = {row["name"]: row["measured"]["sampled"] for row in rows if row["experiment"] == "compared"}
    own = yardsticks.get(REFERENCE)
    for kind, (colour, style, runs) in _runs(rows, part).items():
        for run in runs:
            points = ([(0.0, own[fact])] if own else []) + [(look["kl"], look[fact]) for look in run]
            axes.plot(*zip(*points, strict=True), style, color=colour, label=kind, marker=".", lw=1.2, alpha=0.8)
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
    """By case: a colour (on gold the agent's, else the reward's), a line style (the agent's), the looks of each run."""
    found: dict[str, dict[int, list[dict[str, float]]]] = {}
    for row in rows:
        if row["experiment"] == part:
            found.setdefault(row["case"], {}).setdefault(row["turn"], []).append(row["measured"]["sampled"])
    names = {case: _names(case) if part == "naive" else ("", case) for case in found}
    agents, subjects = (list(dict.fromkeys(column)) for column in zip(*names.values(), strict=True))
    return {
        case: (
            COLOURS[subjects.index(names[case][1]) % len(COLOURS)],
            STYLES[agents.index(names[case][0]) % len(STYLES)],
            list(turns.values()),
        )
        for case, turns in found.items()
    }


def _legend(axes: Any) -> list[Line2D]:
    """A line for every label; where a label is an agent and a reward, one for each agent and one for each reward."""
    entries, agents = dict[str, Line2D](), dict[str, Line2D]()
    for line, label in zip(*axes.get_legend_handles_labels(), strict=True):
        agent, reward = _names(label)
        if agent:
            entries.setdefault(reward, Line2D([], [], color=line.get_color(), marker=".", label=reward))
            agents.setdefault(agent, Line2D([], [], color="black", ls=line.get_linestyle(), lw=1.2, label=agent))
        else:
            entries.setdefault(label, line)
    return [*entries.values(), *agents.values()]


def _names(case: str) -> tuple[str, str]:
    """Of a case of a naive reward, the agent and the reward; of others, nothing and the case."""
    agent, _, reward = case.rpartition(", ")
    return (agent, reward) if reward in COLLAPSES else ("", case)
