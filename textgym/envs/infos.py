"""Infos of a vector environment, in the form that Gymnasium's `VectorEnv._add_info` gives them, column by column."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64


def add_columns(
    infos: dict[str, Any],
    num_envs: int,
    rows: Int64[np.ndarray, " N"],
    columns: Mapping[str, Sequence[Any] | np.ndarray],
) -> None:
    """Adds values of some rows to infos, as arrays over all rows with a mask `_key` beside each.

    Args:
        infos: what is added to.
        num_envs: B.
        rows: which rows the values belong to.
        columns: N values under each key.
    """
    for key, values in columns.items():
        infos[key] = _spread(values, rows, num_envs)
        infos[f"_{key}"] = present = np.zeros(num_envs, bool)
        present[rows] = True


def _spread(values: Sequence[Any] | np.ndarray, rows: Int64[np.ndarray, " N"], num_envs: int) -> np.ndarray:
    """Numbers beside zeros, objects beside None."""
    if isinstance(values, np.ndarray) or isinstance(values[0], (bool, int, float)):
        given = np.asarray(values)
        spread = np.zeros((num_envs, *given.shape[1:]), given.dtype)
        spread[rows] = given
        return spread
    objects = np.full(num_envs, None, object)
    for row, value in zip(rows.tolist(), values, strict=True):
        objects[row] = value
    return objects
