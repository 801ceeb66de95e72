"""Best of n: draw n texts, keep the one with the highest reward. Its law is known without drawing.

With F(y) the chance that a text earns at most y, the best earns y with probability F(y)^n - F(y-)^n. Among texts of
equal reward the one that was drawn first is kept, so each keeps its share. The well-known log n - (n - 1) / n is an
upper bound of its KL from the policy (Beirami et al. 2024), and exact where no two texts tie and none is likely.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from textgym.errors import TaskError
from textgym.oracle import bellman
from textgym.oracle.prefixes import PrefixTree

TIE = 1e-9
"""Rewards that differ by no more, relative to the largest, are the same reward summed in another order."""


@dataclass(frozen=True, eq=False)
class BestOfN:
    """The law of the best of n.

    Attributes:
        n: how many texts are drawn.
        rewards: (K,) what a text may earn, lowest first.
        base: (K,) how likely one text of the policy earns each.
        probabilities: (K,) how likely the best of n does.
        expected_reward: of the best of n.
        kl: KL(best of n || policy) between the distributions of texts, in nats; over prompts, the mean.
        bound: log n - (n - 1) / n, in nats.
    """

    n: int
    rewards: Float64[np.ndarray, " K"]
    base: Float64[np.ndarray, " K"]
    probabilities: Float64[np.ndarray, " K"]
    expected_reward: float
    kl: float
    bound: float


def best_of(tree: PrefixTree, logprobs: Float64[np.ndarray, "N V"], n: int) -> BestOfN:
    """The exact law for a policy's log-probabilities (N, V); n texts of the same prompt compete.

    Raises:
        TaskError: n below 1, or prefixes that are merged, which forget what a text earned.
    """
    if isinstance(n, bool) or n < 1:
        raise TaskError(f"n={n}: the best of at least 1 text is kept")
    if tree.merged:
        raise TaskError(
            "best of n needs the reward of every text, and merged prefixes forget it: solve with merge=False"
        )
    chances = np.exp(logprobs)
    places, tokens = np.nonzero(tree.ends)
    likely = (bellman.visits(tree, chances)[:, None] * chances)[places, tokens]
    rewards, earned = _distinct(tree.totals[places, tokens])
    weights = tree.openings.weights
    base = np.zeros((len(weights), len(rewards)))
    np.add.at(base, (tree.prompts[places], earned), likely)
    base /= weights[:, None]
    best = np.array([_law(row, n) for row in base])
    with np.errstate(divide="ignore", invalid="ignore"):
        nats = np.where(best > 0, best * np.log(best / base), 0.0).sum(axis=1)
    return BestOfN(
        n,
        rewards,
        weights @ base,
        weights @ best,
        float(weights @ (best @ rewards)),
        float(weights @ nats),
        math.log(n) - (n - 1) / n,
    )


def _law(base: Float64[np.ndarray, " K"], n: int) -> Float64[np.ndarray, " K"]:
    """F(y)^n - F(y-)^n, written so that a small share of a large n keeps its digits."""
    upto = np.minimum(np.cumsum(base), 1.0)
    below = np.concatenate([[0.0], upto[:-1]])
    law = np.zeros(len(base))
    some = base > 0
    with np.errstate(divide="ignore"):
        law[some] = -np.expm1(n * np.log1p(-base[some] / upto[some])) * upto[some] ** n
    law[some & (below == 0)] = upto[some & (below == 0)] ** n
    return law


def _distinct(values: Float64[np.ndarray, " M"]) -> tuple[Float64[np.ndarray, " K"], np.ndarray]:
    """The distinct values, lowest first, and for each of the M which of them it is."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    gaps = np.diff(ranked) > TIE * max(1.0, float(np.abs(values).max()))
    groups = np.concatenate([[0], np.cumsum(gaps)])
    numbers = np.empty(len(values), dtype=np.int64)
    numbers[order] = groups
    return ranked[np.concatenate([[True], gaps])], numbers
