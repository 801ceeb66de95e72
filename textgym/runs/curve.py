"""`curve.png`: reward, its components and the KL against generated tokens, drawn from the saved rows alone."""

import io
import json
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from textgym.text.store import write_atomic

PANELS = (("reward/", "reward"), ("kl/", "KL to the starting model (nats)"), ("rollout/", "texts"))
"""Prefix of the logged names, and the title of the panel they share."""


def draw_curve(metrics: Path, target: Path) -> None:
    """Draws the rows of a metrics file as a PNG.

    Args:
        metrics: JSON Lines, one row a rollout, with `tokens/total` and the logged values.
        target: the picture; nothing is written where there are no rows.
    """
    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines() if line]
    if not rows:
        return
    names = {key for row in rows for key in row}
    panels = [(prefix, title) for prefix, title in PANELS if any(name.startswith(prefix) for name in names)]
    figure = Figure(figsize=(4.6 * len(panels), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (prefix, title) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name in sorted(name for name in names if name.startswith(prefix)):
            points = [(row["tokens/total"], row[name]) for row in rows if row.get(name) is not None]
            bold = name == "reward/paid"
            axes.plot(*zip(*points, strict=True), label=name.removeprefix(prefix), linewidth=2.4 if bold else 1.2)
        axes.set(title=title, xlabel="tokens generated")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_atomic(target, picture.getvalue())
