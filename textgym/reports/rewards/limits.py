"""What rows cannot support, however their intervals look."""

from collections.abc import Sequence

from textgym.reports.rewards.arms import Bench
from textgym.reports.rewards.frontier import frontiers
from textgym.reports.rewards.standings import Standing
from textgym.reports.rewards.wording import counted, listed, number

FEW_RUNS, FEW_PROMPTS = 5, 100
CANNOT = "These rows cannot say"
UNEQUAL_KL = 1.5
"""Largest over smallest KL of designs above which their KL is not the same."""


def limits(bench: Bench, found: Sequence[Standing]) -> list[str]:
    """Sentences, the gravest first.

    Args:
        bench: with its yardsticks.
        found: the designs.
    """
    said = [_few_runs(found), _one_checkpoint(found), _kl(bench, found), _briefs(bench), _scale(bench), _alike(found)]
    return [sentence for sentence in said if sentence]


def _few_runs(found: Sequence[Standing]) -> str:
    runs = [len(one.arm.runs) for one in found]
    if min(runs) >= FEW_RUNS:
        return ""
    who = (
        f"designs have {min(runs)} to {max(runs)} runs"
        if min(runs) < max(runs)
        else f"each has {counted(runs[0], 'run')}"
    )
    alone = "; intervals of one run are over its texts and hold for it alone" if min(runs) == 1 else ""
    return f"{CANNOT} whether designs differ or their runs were lucky: {who}, {FEW_RUNS} are wanted{alone}."


def _one_checkpoint(found: Sequence[Standing]) -> str:
    if len({int(place) for one in found for place in one.arm.checkpoints}) != 1:
        return ""
    return f"{CANNOT} whether it holds for other starting models: all runs began as one checkpoint."


def _kl(bench: Bench, found: Sequence[Standing]) -> str:
    ends = [one.kl.value for one in found if one.kl is not None and one.kl.value > 0]
    if len(ends) < 2 or max(ends) <= UNEQUAL_KL * min(ends) or len(frontiers(bench)) > 1:
        return ""
    span = f"{number(min(ends), 1)} to {number(max(ends), 1)} nats"
    return f"{CANNOT} whether a design is better at the same KL: they ended at {span}, and were run with one beta."


def _briefs(bench: Bench) -> str:
    few = bench.prompts < FEW_PROMPTS
    return f"{CANNOT} whether small differences are real: there are {bench.prompts} held-out briefs." if few else ""


def _scale(bench: Bench) -> str:
    if bench.has_scale:
        return ""
    return f"{CANNOT} how much of what is possible was gained: a reference, or a corpus that is better, is missing."


def _alike(found: Sequence[Standing]) -> str:
    """Jobs that differ in more than the reward."""
    differing = [
        name.replace("_", " ")
        for name in ("agent", "tokens", "delivery", "gamma", "kl_in")
        if len({str(one.arm.job.get(name)) for one in found}) > 1
    ]
    if not differing:
        return ""
    return f"{CANNOT} whether it was the reward alone: designs differ in {listed(differing)} too."
