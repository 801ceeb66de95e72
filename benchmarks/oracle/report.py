"""Tables in Markdown, made from saved rows alone."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from textgym.benchmarks.oracle.estimators import is_biased
from textgym.benchmarks.oracle.unit import Row

AIM = 0.01
"""The regret that every learner should reach."""


def report(rows: Sequence[Row]) -> str:
    """The tables that there are rows for."""
    tables = (estimators(rows), regret(rows), near(rows), credit(rows))
    return "\n\n".join(table for table in tables if table)


def estimators(rows: Sequence[Row]) -> str:
    """A line for each estimator: its mean beside the gradient that is due."""
    lines = []
    for row in (row for row in rows if row["experiment"] == "estimators"):
        found = row["measured"]
        verdict = "biased" if is_biased(row) else "no bias found"
        length = f"{found['length']:.3f} ± {found['error']:.3f}"
        cells = [row["name"], row["kind"], row["due"], f"{found['share']:.3g}", length, f"{found['cosine']:.3f}"]
        lines.append([*cells, f"{found['p']:.2g}", verdict, f"{found['noise']:.2f}"])
    head = ("estimator", "in theory", "gradient of", "share due", "length", "cosine", "p", "verdict", "noise")
    return _table(head, lines)


def regret(rows: Sequence[Row]) -> str:
    """A line for each agent: the median and the worst regret of its seeds at the end, in percent, by world."""
    ends = [row for row in rows if row["experiment"] == "regret" and "beta" not in row]
    worlds = list(dict.fromkeys(row["world"] for row in ends))
    lines = []
    for name in dict.fromkeys(row["name"] for row in ends):
        own = [row for row in ends if row["name"] == name]
        cells = [name, _thousands(own)]
        for world in worlds:
            found = [row["measured"] for row in own if row["world"] == world]
            cells += [_percent([each[kind] for each in found if kind in each]) for kind in ("sampled", "greedy")]
            reached = sum(each["sampled"] <= AIM for each in found)
            cells.append(f"{reached} of {len(found)}")
        lines.append(cells)
    columns = [f"{world}, {what}" for world in worlds for what in ("sampled", "greedy", "at most 1%")]
    return _table(("regret, %", "tokens", *columns), lines)


def near(rows: Sequence[Row]) -> str:
    """The same of agents near a reference, by the soft value, with the KL beside that of the optimum."""
    ends = [row for row in rows if row["experiment"] == "regret" and "beta" in row]
    lines = []
    for name in dict.fromkeys(row["name"] for row in ends):
        own = [row for row in ends if row["name"] == name]
        found = [row["measured"] for row in own]
        reached = sum(each["soft"] <= AIM for each in found)
        kl = f"{median(each['kl'] for each in found):.2f} ({found[0]['best_kl']:.2f})"
        soft = _percent([each["soft"] for each in found])
        lines.append([name, _thousands(own), soft, f"{reached} of {len(found)}", kl])
    return _table(("soft regret, %", "tokens", "sampled", "at most 1%", "KL (of the optimum)"), lines)


def credit(rows: Sequence[Row]) -> str:
    """A line for each agent: the median correlation over seeds, by delivery, at the start and at the end."""
    own = [row for row in rows if row["experiment"] == "credit"]
    lines = []
    for name in dict.fromkeys(row["name"] for row in own):
        cells = [name]
        for delivery in ("terminal", "per_token"):
            for when in ("start", "end"):
                chosen = [row["measured"][when] for row in own if (row["name"], row["delivery"]) == (name, delivery)]
                found = [each["correlation"] for each in chosen]
                cells.append(f"{median(found):.2f}" if found else "")
        lines.append(cells)
    head = ("correlation", "terminal, start", "later", "per token, start", "later")
    return _table(head, lines)


def _percent(values: Sequence[float]) -> str:
    """The median and the worst."""
    return f"{100 * median(values):.2f} ({100 * max(values):.2f})" if values else ""


def _thousands(rows: Sequence[Row]) -> str:
    tokens: Any = median(row["measured"]["tokens"] for row in rows)
    return f"{tokens / 1000:.0f}k" if tokens else "none"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    if not lines:
        return ""
    rows = (head, ["---"] * len(head), *lines)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
