"""Does another way to pay keep the optimum? Exactly, by solving both.

What is wanted is the finished text's reward R, paid at its end. Another way keeps the optimum if every policy that is
best under it is best under that too. Potential-based shaping does so whatever the potential is (Ng, Harada and Russell
1999), and so does any delivery of the same return at gamma = 1.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float64

from textgym.errors import TaskError
from textgym.oracle import bellman
from textgym.oracle.prefixes import PrefixTree
from textgym.oracle.size import LIMIT
from textgym.oracle.solution import TIE, Solution
from textgym.oracle.solve import solve
from textgym.types import TextBatch

Dense = Callable[[TextBatch], Float64[np.ndarray, " B"]]
"""(B texts, finished or not) -> (B,) what the token that came last in each is paid."""

PAID_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Verdict:
    """Whether a way to pay keeps the optimum.

    Attributes:
        keeps: whether every policy that is best under it is best under R at the end.
        best: V*: what the best policy earns of R, discounted.
        worst: what the worst of the policies that are best under it earns of R.
        completion: ids of a text that such a worst policy may write.
        text: the same as text.
    """

    keeps: bool
    best: float
    worst: float
    completion: tuple[int, ...]
    text: str

    def __str__(self) -> str:
        if self.keeps:
            return f"keeps the optimum: whatever is best under it earns {self.best:.6g}, which is the best there is"
        return (
            f"loses the optimum: it allows {self.text!r}, and {self.worst:.6g} is earned where {self.best:.6g} could be"
        )


def keeps_optimum(
    task_or_env: Any,
    paid: str | Dense,
    *,
    gamma: float = 1.0,
    reward: Any = None,
    limit: int = LIMIT,
) -> Verdict:
    """Whether a delivery, or a dense reward of your own, has no best policy that is not best under R at the end.

    Args:
        task_or_env: as in `solve`; a delivery of its own does not matter.
        paid: "terminal", "per_token" or "shaped"; or a function that is given texts, finished or not, and returns what
            the last token of each is paid, (B,). EOS is a token.
        gamma: the discount, of both, and of shaped delivery.
        reward: R, in place of the task's or environment's own.
        limit: as in `solve`.

    Raises:
        TaskError: as in `solve`; or a dense reward that returns another shape, NaN or infinity.
        ScoringFailure: the reward fails on some text.
    """
    wanted = solve(task_or_env, gamma, reward=reward, delivery="terminal", limit=limit)
    if callable(paid):
        tree = replace(wanted.tree, rewards=_dense_rewards(paid, wanted.tree))
        other = Solution(tree, gamma, bellman.backward(tree, gamma, bellman.best))
    else:
        other = solve(task_or_env, gamma, reward=reward, delivery=paid, limit=limit)
    return _verdict(wanted, other)


def _verdict(wanted: Solution, other: Solution) -> Verdict:
    """What is earned where each tie is decided for the worst."""
    chosen = np.zeros(other.ties.shape)

    def backup(q: Float64[np.ndarray, "K V"], rows: slice) -> Float64[np.ndarray, " K"]:
        hopes = np.where(other.ties[rows], q, np.inf)
        chosen[np.arange(rows.start, rows.stop), hopes.argmin(axis=1)] = 1.0
        found: Float64[np.ndarray, " K"] = hopes.min(axis=1)
        return found

    worst = bellman.at_start(wanted.tree, bellman.backward(wanted.tree, wanted.gamma, backup).v)
    keeps = worst >= wanted.value - TIE * max(1.0, abs(wanted.value))
    written, place = [], 0
    while place >= 0:
        written.append(int(chosen[place].argmax()))
        place = int(wanted.tree.children[place, written[-1]])
    text = wanted.tree.episodes.task.tokenizer.decode(written)
    return Verdict(keeps, wanted.value, worst, tuple(written), text)


def _dense_rewards(dense: Dense, tree: PrefixTree) -> Float64[np.ndarray, "N V"]:
    """What each action at each prefix is paid."""
    rewards = np.zeros(tree.masks.shape)
    places, actions = np.nonzero(tree.masks)
    tokenizer, ids = tree.episodes.task.tokenizer, tree.openings.ids
    for part in np.split(np.arange(len(places)), range(PAID_AT_ONCE, len(places), PAID_AT_ONCE)):
        rows = places[part]
        spans = zip(tree.tokens[rows], tree.starts[rows].tolist(), tree.lengths[rows].tolist(), strict=True)
        texts = [
            np.append(row[start:end], action) for (row, start, end), action in zip(spans, actions[part], strict=True)
        ]
        batch = TextBatch(
            [ids[prompt] for prompt in tree.prompts[rows]], [t.astype(np.int32) for t in texts], tokenizer
        )
        paid = np.asarray(dense(batch), dtype=np.float64)
        if paid.shape != (len(part),) or not np.isfinite(paid).all():
            raise TaskError(
                f"the dense reward returned shape {paid.shape} for {len(part)} texts, or not finite numbers: it says "
                "what the last token of each text is paid, (B,)"
            )
        rewards[rows, actions[part]] = paid
    return rewards
