"""`curve.png`: reward, its components and the KL against generated tokens, drawn from the saved rows alone."""

import io
import json
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from textgym.text.store import write_atomic

PANELS = (
    ("reward and its components", "reward/"),
    ("KL to the starting model (nats a text)", "kl/reference"),
    ("shares", "rollout/distinct_2", "rollout/eos_rate", "rollout/rep_4"),
    ("tokens a text", "rollout/length"),
)
"""Title of each panel, and the names, or beginnings of names, of the figures it shows."""


def draw_curve(metrics: Path, target: Path) -> None:
    """Draws the rows of a metrics file as a PNG.

    Args:
        metrics: JSON Lines, one row a rollout, with `tokens/total` and the logged values.
        target: the picture; nothing is written where there are no rows.
    """
    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines() if line]
    if not rows:
        return
    logged = sorted({key for row in rows for key in row})
    shown = [(title, [name for name in logged if name.startswith(tuple(parts))]) for title, *parts in PANELS]
    shown = [(title, names) for title, names in shown if names]
    figure = Figure(figsize=(4.2 * len(shown), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, names) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        for name in names:
            points = [(row["tokens/total"] / 1000, row[name]) for row in rows if row.get(name) is not None]
            bold = name == "reward/paid"
            axes.plot(*zip(*points, strict=True), label=name.partition("/")[2], linewidth=2.4 if bold else 1.2)
        axes.set(title=title, xlabel="thousand tokens generated")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_atomic(target, picture.getvalue())
