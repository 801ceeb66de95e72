"""Returns and baselines of whole texts: how good each step of B texts was.

Arrays are (T, B), step by row, 0 beyond a text's end; a text whose reward failed is not `valid`, and counts for none.
"""

import numpy as np
from jaxtyping import Bool, Float

Steps = Float[np.ndarray, "T B"]

EPSILON = 1e-4
"""Added to a group's standard deviation: where all of its returns are equal, its advantages are 0."""


def returns_to_go(rewards: Steps, gamma: float) -> Steps:
    """What is still to be paid from each step on: G_t = r_t + gamma G_(t+1)."""
    found: Steps = rewards.copy()
    for step in range(len(found) - 2, -1, -1):
        found[step] += gamma * found[step + 1]
    return found


def discounts(steps: int, gamma: float) -> Float[np.ndarray, "T 1"]:
    """Powers of gamma: what a step weighs in the gradient of J."""
    return (gamma ** np.arange(steps))[:, None].astype(np.float32)


def batch_mean(values: Steps, valid: Bool[np.ndarray, " B"]) -> Steps:
    """The mean over all texts, step by step.

    A text's own value is in it, so that the baseline is not independent of the text's actions: with N texts the
    expected gradient is (1 - 1/N) times the right one.
    """
    return np.broadcast_to(values[:, valid].mean(1, keepdims=True) if valid.any() else 0 * values[:, :1], values.shape)


def leave_one_out(values: Steps, group_size: int, valid: Bool[np.ndarray, " B"]) -> Steps:
    """The mean over the other texts of the group, step by step (Kool et al. 2019, eq. 8); 0 where there is no other.

    Independent of the text's own actions, so the gradient's expectation is the right one.
    """
    groups = _grouped(np.where(valid, values, 0), group_size)
    others = _grouped(valid[None], group_size).sum(2, keepdims=True) - _grouped(valid[None], group_size)
    found = (groups.sum(2, keepdims=True) - groups) / np.maximum(others, 1)
    return np.where(others > 0, found, 0).reshape(values.shape).astype(values.dtype)


def group_standardised(
    values: Float[np.ndarray, "1 B"], group_size: int, valid: Bool[np.ndarray, " B"], *, std: bool
) -> Float[np.ndarray, "1 B"]:
    """Returns less the mean of their group, and over its standard deviation where `std` says so (Shao et al. 2024)."""
    groups, known = _grouped(np.where(valid, values, 0), group_size), _grouped(valid[None], group_size)
    count = np.maximum(known.sum(2, keepdims=True), 1)
    centred = np.where(known, groups - groups.sum(2, keepdims=True) / count, 0)
    if std:
        spread = np.sqrt((centred**2).sum(2, keepdims=True) / np.maximum(count - 1, 1))
        centred = centred / (spread + EPSILON)
    return centred.reshape(values.shape).astype(values.dtype)


def _grouped(values: np.ndarray, group_size: int) -> np.ndarray:
    """(T, B) as (T, groups, G)."""
    return values.reshape(len(values), -1, group_size)
