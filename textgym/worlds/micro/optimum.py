"""The best and the uniform policy's expected return over a machine's states: a few thousand, however many the texts.

It is what `reward_threshold` is made of; the oracle finds the same by enumeration of texts, which a test holds it to.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from textgym.worlds.micro.machine import Machine

SOLVED = 0.99
"""The share of the way from the uniform policy to the best one at which a world counts as solved."""


class Optimum(NamedTuple):
    """Expected returns at gamma = 1: of the best policy, and of the one that chooses uniformly."""

    best: float
    uniform: float

    @property
    def threshold(self) -> float:
        """`reward_threshold`: what a policy earns that has gone 99% of the way from the one to the other."""
        return self.uniform + SOLVED * (self.best - self.uniform)


def optimum(machine: Machine, actions: Int64[np.ndarray, " A"], eos_id: int, horizon: int) -> Optimum:
    """Backward induction over the states that can be reached after t tokens, t = T-1 .. 0.

    Args:
        machine: what pays.
        actions: the A ids that may be chosen, at every step.
        eos_id: the one of them that ends a text.
        horizon: T, the tokens of the longest text.
    """
    reached = [np.array([machine.start])]
    for _ in range(horizon - 1):
        after, _ = machine.step(*_pairs(reached[-1], actions))
        reached.append(np.unique(after))
    best, uniform = np.zeros(machine.states), np.zeros(machine.states)
    for step in range(horizon - 1, -1, -1):
        after, paid = machine.step(*_pairs(reached[step], actions))
        goes_on = (np.tile(actions, len(reached[step])) != eos_id) & (step < horizon - 1)
        shape = (len(reached[step]), len(actions))
        found = (paid + np.where(goes_on, best[after], 0.0)).reshape(shape).max(axis=1)
        drawn = (paid + np.where(goes_on, uniform[after], 0.0)).reshape(shape).mean(axis=1)
        best[reached[step]], uniform[reached[step]] = found, drawn
    return Optimum(float(best[machine.start]), float(uniform[machine.start]))


def _pairs(
    states: Int64[np.ndarray, " S"], actions: Int64[np.ndarray, " A"]
) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
    """Every state with every action, state by state."""
    return np.repeat(states, len(actions)), np.tile(actions, len(states))
