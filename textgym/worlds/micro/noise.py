"""Numbers that look random and are a function of their place: no table, any vocabulary, the same on every machine.

The mixer is SplitMix64's (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
"""

import numpy as np
from jaxtyping import Float64, Int64, UInt64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def noise(seed: int, *keys: Int64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
    """Uniform numbers in [0, 1), (N,): equal seeds and keys give equal numbers, others independent ones.

    Args:
        seed: at least 0.
        keys: one or more arrays of N integers each.
    """
    mixed = np.full(keys[0].shape, seed, dtype=np.uint64)
    for key in keys:
        mixed = _mix(mixed ^ _mix(key.astype(np.uint64)))
    unit: Float64[np.ndarray, " N"] = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return unit


def _mix(values: UInt64[np.ndarray, " N"]) -> UInt64[np.ndarray, " N"]:
    mixed = values + _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: UInt64[np.ndarray, " N"] = mixed ^ (mixed >> np.uint64(31))
    return result
