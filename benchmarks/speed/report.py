"""Tables, made from saved rows alone."""

import re
from collections.abc import Sequence
from statistics import median

from rich.console import Group
from rich.table import Table
from textgym.benchmarks.speed import derive
from textgym.benchmarks.speed.breakdown import PARTS
from textgym.benchmarks.speed.experiments import EXPERIMENTS, OBVIOUS, OURS
from textgym.benchmarks.speed.rows import Row

CITED = "RL4LMs' environment: 2,300 to 3,300 steps a second (cited from this project's brief, not measured here)"
"""The peer of the single environment."""

NOT_SHOWN = re.compile(
    r"tokens|(.*_)?seconds|optimizer_steps|transitions|parameters|before_mib|gflop_per_token|gflops_\d.*"
)
"""Amounts of work, the seconds they took, and every single shape: in the rows, and behind the rates of the tables."""

NAMED = ("textgym", "torch", "stable-baselines3", "transformers", "trl")
"""Whose versions stand below the tables."""


def report(rows: Sequence[Row]) -> Group:
    """Targets first, then every experiment that has rows, then what it was measured on."""
    known = [name for name in EXPERIMENTS if derive.cases(rows, name)]
    tables = [profile_table(rows) if name == "profile" else experiment_table(rows, name) for name in known]
    if "lengths" in known:
        tables.insert(known.index("lengths") + 1, lengths_table(rows))
    return Group(target_table(rows), *tables, *conditions(rows))


def target_table(rows: Sequence[Row]) -> Table:
    """What is claimed, what was found, and whether that is enough."""
    made = Table("target", "asked", "median", "min", "max", "met", title="Targets")
    for target in derive.targets(rows):
        asked = ("at least " if target.above else "at most ") + written(target.limit, target.unit)
        found = [written(f(target.found), target.unit) for f in (median, min, max)] if target.found else ["", "", ""]
        said = {None: "not measured", True: "yes", False: "NO"}[target.met]
        made.add_row(target.claim, asked, *found, said)
    return made


def experiment_table(rows: Sequence[Row], experiment: str) -> Table:
    """The measured figures of an experiment, a line for each side of each case: median (lowest to highest turn)."""
    own = [row for row in rows if row["experiment"] == experiment]
    known = dict.fromkeys(figure for row in own for figure in row.get("measured", ()))
    shown = [figure for figure in known if NOT_SHOWN.fullmatch(figure) is None]
    made = Table(
        "case", "what", *(figure.replace("_", " ").replace("mib", "MiB") for figure in shown), title=experiment
    )
    if experiment == "environment":
        made.caption = CITED
    for case, name in dict.fromkeys((row["case"], row["name"]) for row in own):
        found = [list(derive.figures(rows, experiment, case, name, figure).values()) for figure in shown]
        units = ["%" if figure.startswith("added") else "" for figure in shown]
        if any(found):
            made.add_row(case, name, *map(cell, found, units))
    for row in {(row["case"], row["name"]): row for row in own if "skipped" in row}.values():
        made.add_row(row["case"], f"{row['name']}: not measured, {row['skipped']}")
    return made


def profile_table(rows: Sequence[Row]) -> Table:
    """Where the time goes, in % of the wall time, and what the timers took of it."""
    made = Table("case", *PARTS, "timers' share", title="profile (% of the wall time)")
    for case, parts in shares(rows).items():
        overhead = list(derive.figures(rows, "profile", case, OURS, "overhead").values())
        made.add_row(case, *(f"{100 * share:.1f}" for share in parts.values()), cell(overhead, "%"))
    return made


def lengths_table(rows: Sequence[Row]) -> Table:
    """The ratio to the obvious way and our cost a token, by T."""
    made = Table("T", "textgym / obvious", "µs a token", "µs a token, attention aside", title="length of completions")
    for case in derive.cases(rows, "lengths"):
        columns = (
            derive.ratio(rows, "lengths", case, OBVIOUS),
            derive.cost_per_token(rows, case, attention=True),
            derive.cost_per_token(rows, case, attention=False),
        )
        made.add_row(case.removeprefix("T = "), *map(cell, columns))
    return made


def shares(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Of each profiled case the share of the wall time by part, over all turns; they add up to 1."""
    found = {}
    for case in derive.cases(rows, "profile"):
        seconds = {part: sum(derive.figures(rows, "profile", case, OURS, part).values()) for part in PARTS}
        found[case] = {part: spent / sum(seconds.values()) for part, spent in seconds.items()}
    return found


def conditions(rows: Sequence[Row]) -> list[str]:
    """Under what the rows were measured, a line each; the load tells of a machine that was busy with other things."""
    lines = [
        f"{found['cpu']}, {found['cores']} cores, {found['memory_gib']} GiB, {found['system']}, "
        f"GPU: {found['gpu'] or 'none'}"
        for found in {str(row["machine"]): row["machine"] for row in rows}.values()
    ]
    loads = [row["load"] for row in rows if row["load"] is not None] or [float("nan")]
    threads = ", ".join(str(count) for count in sorted({row["threads"] for row in rows}))
    lines.append(f"threads {threads}; load average before the units {plain(min(loads))} to {plain(max(loads))}")
    versions = rows[-1]["versions"] if rows else {}
    return [*lines, ", ".join(f"{name} {versions[name]}" for name in NAMED if name in versions)]


def cell(values: Sequence[float], unit: str = "") -> str:
    """Median, and the range where there are several turns; empty where there is none."""
    if not values:
        return ""
    low, middle, high = (written(f(values), unit) for f in (min, median, max))
    return middle if low == high else f"{middle} ({low} to {high})"


def written(value: float, unit: str) -> str:
    """A figure with its unit."""
    if unit == "%":
        return f"{100 * value:,.1f}%"
    return f"{plain(value)} {unit}" if unit in ("x", "MiB") else plain(value)


def plain(value: float) -> str:
    """A figure to three digits, or to whole numbers where it is large."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"
