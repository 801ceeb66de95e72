"""What the texts of a reference earn by the reward of a run, which rows of references do not say."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float32

from textgym.reports.rewards.runs import SAMPLED, Look, Run
from textgym.reports.verdict import REWARD

Values = Float32[np.ndarray, " N"]

ROUNDED = 1e-4
"""Relative; rows keep five digits."""


def starting_reward(run: Run, reference: Run | None, runs: Iterable[Run], way: str = SAMPLED) -> Values | None:
    """What the reference earns, brief by brief, by the reward of a run.

    The first of these that the rows know: the run's own look at 0 tokens; the best of 1 by the same reward from the
    same checkpoint, which is the reference; a column of the reference that equals the reward on all texts of the run.

    Args:
        run: whose reward it is.
        reference: of its checkpoint.
        runs: all runs of the benchmark.
        way: of writing.
    """
    for look in run.looks:
        if look.tokens == 0 and not look.final and look.way == way and REWARD in look.values:
            return look.values[REWARD]
    if way == SAMPLED and (values := _best_of_one(run, runs)) is not None:
        return values
    final = None if reference is None else reference.final(way)
    return (
        None
        if final is None
        else next((final.values[name] for name in same_columns(run) if name in final.values), None)
    )


def same_columns(run: Run) -> list[str]:
    """Columns that on every text of a run are what it was paid, if that varies at all: the reward by another name."""
    looks = [look for look in run.looks if REWARD in look.values and len(look.values) > 1]
    if not looks or all(np.ptp(look.values[REWARD]) == 0 for look in looks):
        return []
    names = [name for name in looks[0].values if name.startswith(("score/", "gold/"))]
    return [name for name in names if all(_alike(look, name) for look in looks)]


def _alike(look: Look, name: str) -> bool:
    values = look.values.get(name)
    return values is not None and bool(np.allclose(values, look.values[REWARD], ROUNDED, 0))


def _best_of_one(run: Run, runs: Iterable[Run]) -> Values | None:
    for other in runs:
        if other.job["kind"] == "best_of_n" and other.job["variant"].get("n") == 1:
            alike = all(other.job[name] == run.job[name] for name in ("design", "reward", "task", "checkpoint"))
            if alike and (values := other.values(REWARD)) is not None:
                return values
    return None
