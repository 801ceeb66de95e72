"""What a page shows first: texts that grew or shrank, that do not end, that lost their variety or repeat themselves."""

from collections.abc import Callable
from dataclasses import dataclass

from textgym.reports.blocks import Cell, Column, Interval, Notice, Section, Table
from textgym.reports.rewards.arms import Arm, Bench
from textgym.reports.rewards.bootstrap import BOTH, TEXTS
from textgym.reports.rewards.standings import known
from textgym.reports.rewards.wording import begun, number


@dataclass(frozen=True)
class Alarm:
    """A rule about one measure.

    Attributes:
        column: the measure.
        label: what it is called.
        rule: when it is raised, in words.
        raised: of a design's mean and the reference's.
        digits: of its figures.
        unit: of its figures.
    """

    column: str
    label: str
    rule: str
    raised: Callable[[float, float], bool]
    digits: int = 2
    unit: str = ""


ALARMS = (
    Alarm(
        "length",
        "length",
        "half as long again as the reference's, or half as long",
        lambda own, before: not 0.5 * before <= own <= 1.5 * before,
        1,
        "tokens",
    ),
    Alarm("ended", "ended by EOS", "0.1 fewer texts end than of the reference", lambda own, before: own < before - 0.1),
    Alarm(
        "entropy",
        "entropy",
        "less than half of the reference's",
        lambda own, before: own < before / 2,
        2,
        "nats a token",
    ),
    Alarm(
        "rep-4",
        "rep-4",
        "more than twice the reference's, and 0.05 more",
        lambda own, before: own > max(2 * before, before + 0.05),
    ),
    Alarm(
        "filler", "filler", "0.1 more of the sentences than of the reference's", lambda own, before: own > before + 0.1
    ),
)
"""Beside the rule, the 95% interval of the change must exclude 0."""


def alarms(bench: Bench, seed: int) -> Section | None:
    """Signs of a collapse, sampled texts against the reference's; None where nothing of the kind was measured."""
    rules = [rule for rule in ALARMS if rule.column in bench.columns()]
    arms = bench.arms("designs")
    if not arms or not rules or not bench.references:
        return None
    rows: list[list[Cell | Interval]] = []
    marks: dict[tuple[int, int], str] = {}
    notices = []
    for place, arm in enumerate(arms):
        rows.append([arm.label, *(known(bench.level(arm, rule.column), seed) for rule in rules)])
        raised = [(column, rule) for column, rule in enumerate(rules, 1) if _raised(bench, rule, arm, seed)]
        marks |= {(place, column): "alarm" for column, _ in raised}
        if raised:
            told = "; ".join(_told(bench, rule, arm) for _, rule in raised)
            notices.append(Notice("warning", f"{arm.label}: {told}."))
    reference = Arm("reference", tuple(bench.references.values()))
    rows.append(["reference", *(_mean(bench, rule, reference) for rule in rules)])
    columns = [Column("design"), *(Column(rule.label, rule.digits, rule.unit) for rule in rules)]
    text = (
        "An alarm is raised where the mean of a design's sampled texts is far from that of its reference, and the "
        f"interval of the change excludes 0. {begun('; '.join(f'{rule.label}: {rule.rule}' for rule in rules))}."
    )
    if not notices:
        notices = [Notice("good", "No design raised an alarm.")]
    return Section(
        "alarms", "Signs of a collapse", [text], [*notices, Table("What alarms are about.", columns, rows, marks)]
    )


def _raised(bench: Bench, rule: Alarm, arm: Arm, seed: int) -> bool:
    change = known(bench.change(arm, rule.column), seed, BOTH if len(arm.runs) > 1 else TEXTS)
    own, before = _mean(bench, rule, arm), _before(bench, rule, arm)
    return bool(change and change.sign and own is not None and before is not None and rule.raised(own, before))


def _mean(bench: Bench, rule: Alarm, arm: Arm) -> float | None:
    sample = bench.level(arm, rule.column)
    return None if sample is None else float(sample.means.mean())


def _before(bench: Bench, rule: Alarm, arm: Arm) -> float | None:
    sample = arm.sample(lambda run: bench.before(run, rule.column))
    return None if sample is None else float(sample.means.mean())


def _told(bench: Bench, rule: Alarm, arm: Arm) -> str:
    ends = [number(end, rule.digits) for end in (_mean(bench, rule, arm), _before(bench, rule, arm)) if end is not None]
    return f"{rule.label} {ends[0]} {rule.unit}".strip() + f", the reference's {ends[1]}"
