"""Bellman's equations on a prefix tree: backward, level by level, and by value iteration.

V(s) = max_a Q(s, a)                                                       the best policy
V(s) = sum_a pi(a|s) Q(s, a)                                               a given policy
V(s) = beta log sum_a pi_ref(a|s) exp(Q(s, a) / beta)                      soft, with a reference
Q(s, a) = r(s, a) + gamma V(s')                                            V = 0 where the text has ended
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from textgym.oracle.prefixes import PrefixTree


class Values(NamedTuple):
    """V (N,) and Q (N, V), -inf where there is no such action."""

    v: Float64[np.ndarray, " N"]
    q: Float64[np.ndarray, "N V"]

    @property
    def advantages(self) -> Float64[np.ndarray, "N V"]:
        """Q - V, (N, V): what an action is worth beside the policy's own choice; -inf where there is none."""
        advantages: Float64[np.ndarray, "N V"] = self.q - self.v[:, None]
        return advantages


Backup = Callable[[Float64[np.ndarray, "K V"], slice], Float64[np.ndarray, " K"]]
"""(Q of some prefixes, which they are) -> their V."""


def best(q: Float64[np.ndarray, "K V"], rows: slice) -> Float64[np.ndarray, " K"]:
    """The backup of the best policy."""
    found: Float64[np.ndarray, " K"] = q.max(axis=1)
    return found


def under(probabilities: Float64[np.ndarray, "N V"]) -> Backup:
    """The backup of a policy with these probabilities, 0 where there is no such action."""

    def backup(q: Float64[np.ndarray, "K V"], rows: slice) -> Float64[np.ndarray, " K"]:
        chances = probabilities[rows]
        found: Float64[np.ndarray, " K"] = (chances * np.where(chances > 0, q, 0.0)).sum(axis=1)
        return found

    return backup


def soft(reference: Float64[np.ndarray, "N V"], beta: float) -> Backup:
    """The soft backup with a reference's log-probabilities (-inf where there is no such action)."""

    def backup(q: Float64[np.ndarray, "K V"], rows: slice) -> Float64[np.ndarray, " K"]:
        found: Float64[np.ndarray, " K"] = beta * log_sum_exp(reference[rows] + q / beta)
        return found

    return backup


def backward(tree: PrefixTree, gamma: float, backup: Backup) -> Values:
    """Backward induction: one visit to each prefix, the longest first."""
    values, q = np.zeros(len(tree)), np.full(tree.masks.shape, -np.inf)
    for rows in reversed(tree.slices):
        q[rows] = _ahead(tree, gamma, values, rows)
        values[rows] = backup(q[rows], rows)
    return Values(values, q)


def iterate(tree: PrefixTree, gamma: float, backup: Backup) -> Values:
    """Value iteration: all prefixes at once from V = 0, until nothing moves, which takes at most T + 1 sweeps."""
    everywhere = slice(0, len(tree))
    values = np.zeros(len(tree))
    while True:
        q = _ahead(tree, gamma, values, everywhere)
        found = backup(q, everywhere)
        if np.array_equal(found, values):
            return Values(values, q)
        values = found


def _ahead(
    tree: PrefixTree, gamma: float, values: Float64[np.ndarray, " N"], rows: slice
) -> Float64[np.ndarray, "K V"]:
    """Q of some prefixes, given V of what follows them."""
    children = tree.children[rows]
    following = np.where(children >= 0, values[children], 0.0)
    return np.where(tree.masks[rows], tree.rewards[rows] + gamma * following, -np.inf)


def visits(tree: PrefixTree, probabilities: Float64[np.ndarray, "N V"]) -> Float64[np.ndarray, " N"]:
    """How likely an episode of a policy comes by each prefix, (N,)."""
    reached = np.zeros(len(tree))
    reached[: len(tree.openings)] = tree.openings.weights
    for rows in tree.slices:
        children = tree.children[rows]
        passed = reached[rows, None] * probabilities[rows]
        goes_on = children >= 0
        np.add.at(reached, children[goes_on], passed[goes_on])
    return reached


def at_start(tree: PrefixTree, values: Float64[np.ndarray, " N"]) -> float:
    """V of the beginning, over the prompts as they are drawn."""
    return float(tree.openings.weights @ values[: len(tree.openings)])


def log_sum_exp(logs: Float64[np.ndarray, "K V"]) -> Float64[np.ndarray, " K"]:
    """Log of the sum of exponentials of each row, which holds a finite number; large ones do not overflow."""
    highest = logs.max(axis=1)
    total: Float64[np.ndarray, " K"] = highest + np.log(np.exp(logs - highest[:, None]).sum(axis=1))
    return total
