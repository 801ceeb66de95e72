"""One thing varied, all else equal: discount, delivery, place of the KL, scaling of advantages."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from textgym.reports.blocks import Cell, Column, Interval, Notice, Section, Table
from textgym.reports.rewards.arms import Arm, Bench, paired
from textgym.reports.rewards.bootstrap import BOTH, RUNS, TEXTS
from textgym.reports.rewards.frontier import through
from textgym.reports.rewards.kl_matched import equal_kl
from textgym.reports.rewards.runs import Run
from textgym.reports.rewards.standings import ahead, kl_of, known
from textgym.reports.rewards.wording import DRAWN, shown

AXES = ("gold/grammar", "gold/fluency", "gold/coherence", "gold/information")
"""Axes of the truth that stand beside gold quality: the first two are about a sentence, the others about a story."""

AT_ONCE, IN_THE_END = ("gold/grammar", "gold/fluency"), "gold/coherence"
"""What a token decides at once, and what only the story shows; of the first, the one that the reward is made of."""


@dataclass(frozen=True)
class Variation:
    """An experiment that varies one thing.

    Attributes:
        experiment: its name.
        title: of its section.
        key: in the variants of its jobs.
        base: value that the others are held against; the first one where it was not run.
        text: what it asks.
    """

    experiment: str
    title: str
    key: str
    base: Any
    text: str


GAMMA = Variation(
    "gamma",
    "Discount",
    "gamma",
    1.0,
    "A discount below 1 makes what comes later count less. It is said to trade what a token decides at once, such as "
    "grammar or fluency, against what only the whole story shows, such as coherence; here both are measured.",
)
DELIVERY = Variation(
    "delivery",
    "When the reward is paid",
    "delivery",
    "terminal",
    "The same reward, paid at the end, token by token, or early as a potential. The return of a text is the same; what "
    "differs is how soon the agent is told.",
)
KL_PLACE = Variation(
    "kl_place",
    "Where the KL is paid",
    "kl_in",
    "reward",
    "The price of leaving the reference, taken from the reward of each token or added to the loss.",
)
NORMALISATION = Variation(
    "normalisation",
    "Scaling of advantages",
    "scale_advantages",
    False,
    "Advantages divided by their standard deviation, or not.",
)


def gamma(bench: Bench, seed: int) -> Section | None:
    """Discounts, and whether they trade what is seen at once against what is seen in the end."""
    return varied(bench, GAMMA, seed)


def delivery(bench: Bench, seed: int) -> Section | None:
    """Terminal, per token, shaped."""
    return varied(bench, DELIVERY, seed)


def kl_place(bench: Bench, seed: int) -> Section | None:
    """KL in the reward against KL in the loss, at each beta, and at the same KL where there are several betas."""
    section = varied(bench, KL_PLACE, seed)
    groups: dict[str, list[Arm]] = {}
    for arm in bench.arms(KL_PLACE.experiment):
        groups.setdefault(f"{arm.job['design']}, in the {arm.job['kl_in']}", []).append(arm)
    found = [one for name, arms in groups.items() if len(arms) > 1 for one in through(bench, name, arms, "beta")]
    if section is None or len(found) < 2:
        return section
    return replace(section, blocks=[*section.blocks, equal_kl(found, (), seed)])


def normalisation(bench: Bench, seed: int) -> Section | None:
    """Advantages scaled or not."""
    return varied(bench, NORMALISATION, seed)


def varied(bench: Bench, what: Variation, seed: int) -> Section | None:
    """A row a design and value; None where fewer than two values were run."""
    axes = [name for name in AXES if name in bench.columns()]
    rows: list[list[Cell | Interval]] = []
    notices: list[Notice] = []
    groups = _groups(bench, what)
    for base, others in groups:
        rows += [_row(bench, what, arm, base, axes, seed) for arm in (base, *others)]
        if what is GAMMA:
            notices += _trade(bench, [base, *others], seed)
    if not rows:
        return None
    gaps = {place: row[3] for place, row in enumerate(rows) if isinstance(row[3], Interval) and row[3].sign}
    marks = {(place, 3): "better" if gap.sign > 0 else "worse" for place, gap in gaps.items()}
    several = all(len(arm.runs) > 1 for base, others in groups for arm in (base, *others))
    text = f"{what.text} Intervals are {DRAWN[RUNS if several else TEXTS]}."
    table = Table(f"{what.title}, all else equal.", _columns(bench, what, axes), rows, marks)
    return Section(what.experiment.replace("_", "-"), what.title, [text], [*notices, table])


def _groups(bench: Bench, what: Variation) -> list[tuple[Arm, list[Arm]]]:
    """For each design, and whatever else was varied, the base and the arms with other values."""
    found: dict[tuple[str, str], list[Arm]] = {}
    for arm in bench.arms(what.experiment):
        if what.key in arm.job["variant"]:
            found.setdefault((arm.job["design"], _else(arm, what)), []).append(arm)
    groups = []
    for arms in (arms for arms in found.values() if len(arms) > 1):
        base = next((arm for arm in arms if _value(arm, what) == what.base), arms[0])
        others = sorted((arm for arm in arms if arm is not base), key=lambda arm: str(_value(arm, what)), reverse=True)
        groups.append((base, others))
    return groups


def _columns(bench: Bench, what: Variation, axes: Sequence[str]) -> list[Column]:
    return [
        Column("design"),
        Column(what.key.replace("_", " ")),
        Column("gold quality", about=bench.gold_label),
        Column("difference", about="in gold quality from the design's first row, paired by checkpoint and seed"),
        *(Column(name.replace("/", " "), about="change against the reference, in its deviations") for name in axes),
        Column("KL", 1, "nats a text"),
        Column("length", 1, "tokens"),
        Column("runs", 0),
    ]


def _row(bench: Bench, what: Variation, arm: Arm, base: Arm, axes: Sequence[str], seed: int) -> list[Cell | Interval]:
    apart = None if arm is base else ahead(bench, arm, base, seed)
    return [
        ", ".join(part for part in (arm.job["design"], _else(arm, what)) if part),
        str(_value(arm, what)),
        known(bench.gold(arm), seed),
        apart.interval if apart else None,
        *(known(bench.shift(arm, name), seed, BOTH) for name in axes),
        kl_of(arm, seed),
        known(bench.level(arm, "length"), seed),
        len(arm.runs),
    ]


def _else(arm: Arm, what: Variation) -> str:
    """What else was varied."""
    return ", ".join(f"{name} {value}" for name, value in arm.job["variant"].items() if name != what.key)


def _value(arm: Arm, what: Variation) -> Any:
    return arm.job["variant"][what.key]


def _trade(bench: Bench, arms: Sequence[Arm], seed: int) -> list[Notice]:
    """Whether the lowest discount gains at once what it loses in the end, against the base."""
    base, lowest = arms[0], min(arms, key=lambda arm: float(_value(arm, GAMMA)))
    reward = base.job["reward"]
    at_once = next((name for name in AT_ONCE if name.replace("/", ".") in reward), AT_ONCE[0])
    moves = [
        known(paired(lowest, base, partial(Run.values, column=name)), seed, BOTH) for name in (at_once, IN_THE_END)
    ]
    if lowest is base or moves[0] is None or moves[1] is None:
        return []
    signs = moves[0].sign, moves[1].sign
    if signs == (1, -1):
        found = "one was traded for the other"
    else:
        found = "no such trade is certain" if 0 in signs else "there was no such trade"
    values = f"{base.job['design']}, discount {_value(lowest, GAMMA)} against {_value(base, GAMMA)}"
    told = f"{at_once.removeprefix('gold/')} {shown(moves[0], 3, True)}, coherence {shown(moves[1], 3, True)}"
    return [Notice("note", f"{values}: {told}; {found}.")]
