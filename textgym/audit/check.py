"""`check_reward`: the usual questions, asked of one reward."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from textgym.audit import balance, cost, payment, sanity, taste
from textgym.audit.arena import Arena
from textgym.audit.exploits import attack
from textgym.audit.findings import Finding, Report
from textgym.oracle.keeping import Dense

Check = Callable[[Arena], Iterator[Finding]]

QUICK_PROMPTS, QUICK, QUICK_SECONDS = 2, 3_000, 5.0
"""What the look for an exploit may take that a check ends with; `attack` itself looks longer."""

CHECKS: tuple[Check, ...] = (
    sanity.check_odd_texts,
    sanity.check_range,
    sanity.check_determinism,
    sanity.check_batches,
    sanity.check_records,
    taste.check_sign,
    taste.check_length,
    taste.check_prompt,
    taste.check_blanks,
    taste.check_truth,
    balance.check_spread,
    balance.check_groups,
    balance.check_dominance,
    cost.check_cost,
)


def check_reward(
    arena: Arena,
    *,
    delivery: str = "terminal",
    gamma: float = 1.0,
    dense: Dense | None = None,
    pairs: Sequence[tuple[str, str, str]] = (),
    exploit: bool = True,
) -> Report:
    """Asks every question that can be asked of a reward.

    Args:
        arena: the reward and what it is tried on; see `textgym.audit.arena_of_task` and `arena_of_rollouts`.
        delivery: when the environment would pay it.
        gamma: the agent's discount.
        dense: a reward of the user's own for each token; see `textgym.oracle.keeps_optimum`.
        pairs: (prompt, better, worse) as people have judged them.
        exploit: whether to look, for a few seconds, for a bad text that earns more than good ones.
    """
    findings = [*_asked(_scores_at_all, arena)]
    if not findings:
        for check in CHECKS:
            findings += _asked(check, arena)
        if pairs:
            findings += _asked(partial(taste.check_pairs, pairs=pairs), arena)
        findings += _asked(partial(payment.check_delivery, delivery=delivery, gamma=gamma, dense=dense), arena)
    scores = all(finding.check != "works" for finding in findings)
    cheapest = _cheapest(arena) if exploit and scores else None
    return Report(str(arena.bound.scorer), arena.bound.signature, arena.where, findings, cheapest)


def _cheapest(arena: Arena) -> dict[str, Any] | None:
    found = attack(arena, prompts=QUICK_PROMPTS, evaluations=QUICK, seconds=QUICK_SECONDS).cheapest
    return None if found is None else found.to_row()


def _scores_at_all(arena: Arena) -> Iterator[Finding]:
    """Nothing, or that the good texts cannot be scored."""
    for values, what in ((arena.liked, "good texts"), (arena.sampled, "samples")):
        if not np.isfinite(values).any():
            message = f"none of the {len(values)} {what} has a finite score: it is not applicable here, or always NaN"
            yield Finding("works", "FAIL", message, {})
            return


def _asked(check: Check, arena: Arena) -> list[Finding]:
    name = getattr(check, "__name__", getattr(getattr(check, "func", None), "__name__", "check"))
    name = name.removeprefix("check_") if name.startswith("check_") else "works"
    try:
        return list(check(arena))
    except Exception as error:
        text = str(error).splitlines()[0] if str(error) else ""
        return [Finding(name, "FAIL", f"it fails: {type(error).__name__}: {text}", {})]
