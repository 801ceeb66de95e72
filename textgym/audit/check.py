"""`check_reward`: the usual questions, asked of one reward."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from textgym.audit import balance, cost, payment, sanity, taste
from textgym.audit.arena import Arena
from textgym.audit.exploits import Attack, attack
from textgym.audit.findings import Finding, Report
from textgym.errors import TaskError, did_you_mean
from textgym.oracle.keeping import Dense
from textgym.scorers.delivery import DELIVERIES

Check = Callable[[Arena], Iterator[Finding]]

QUICK_PROMPTS, QUICK, QUICK_SECONDS = 2, 3_000, 5.0
"""What the look for an exploit may take that a check ends with; `attack` itself looks longer."""

MOST = 0.9
"""A bad text that earns more than this share of the good ones is a failure."""

SHOWN = 80
"""Characters of a text in a finding."""

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

    Raises:
        TaskError: no such delivery.
    """
    if delivery not in DELIVERIES:
        raise TaskError(f"delivery={delivery!r}. {did_you_mean(delivery, DELIVERIES)}")
    findings = _asked(_scores_at_all, arena)
    found: Attack | None = None
    if not findings:
        for check in CHECKS:
            findings += _asked(check, arena)
        if pairs:
            findings += _asked(partial(taste.check_pairs, pairs=pairs), arena)
        findings += _asked(partial(payment.check_delivery, delivery=delivery, gamma=gamma, dense=dense), arena)
        if exploit:
            found = attack(arena, prompts=QUICK_PROMPTS, evaluations=QUICK, seconds=QUICK_SECONDS)
            findings.append(_exploited(arena, found))
    cheapest = None if found is None or found.cheapest is None else found.cheapest.to_row()
    return Report(str(arena.bound.scorer), arena.bound.signature, arena.where, findings, cheapest)


def _exploited(arena: Arena, found: Attack) -> Finding:
    """Does a bad text earn more than good ones?"""
    best = found.best
    numbers = {"texts": float(found.evaluations)}
    if best is None:
        return Finding(
            "exploit", "ok", f"none of {found.evaluations:,} texts is bad and earns more than good ones", numbers
        )
    share = float(np.mean(best.score > arena.liked[np.isfinite(arena.liked)]))
    shown = best.text.strip() if len(best.text) <= SHOWN else best.text.strip()[:SHOWN] + "…"
    wrong = f" ({best.symptoms[0].split(':')[0]})" if best.symptoms else ""
    message = f"{shown!r}{wrong} scores {best.score:.3g}, above {share:.0%} of good texts"
    return Finding("exploit", "FAIL" if share >= MOST else "warn", message, {**numbers, "share": share})


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
