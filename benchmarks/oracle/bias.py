"""Is the mean of these gradients the one that is due? A joint test, and how far off it is.

Hotelling's T^2 of the mean's coordinates along the gradient that is due and the leading score directions (see
`targets.score_directions`); beside it the largest z-score over all parameters, times their number (Bonferroni).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from scipy import stats

from textgym.errors import TaskError

ROUNDING = 1e-4
"""Share of the largest standard error below which one is made of rounding errors: a key's bias moves no softmax."""


@dataclass(frozen=True)
class Bias:
    """What a sample of gradients says of its mean.

    Attributes:
        length: of the mean along the gradient that is due, as a share of that; 1 is right.
        error: half of the 95% interval of `length`.
        cosine: between both, within the directions tested; the noise of the mean alone keeps it below 1.
        p: of the test that the mean is what is due; the smaller of two, doubled.
        p_direction: of the test that the mean has no part across what is due, so that it is due but for its length.
        noise: root of the variance of a sample, all parameters together, as a share of the gradient that is due.
    """

    length: float
    error: float
    cosine: float
    p: float
    p_direction: float
    noise: float


def bias(
    samples: Float[np.ndarray, "K D"], due: Float[np.ndarray, " D"], directions: Float64[np.ndarray, "M D"]
) -> Bias:
    """Tests K gradients against the one that is due.

    Raises:
        TaskError: no more gradients than directions, which then say nothing of each other.
    """
    if len(samples) <= len(directions) + 2:
        raise TaskError(
            f"{len(samples)} rollouts say nothing along {len(directions) + 1} directions: more texts, smaller rollouts "
            "or fewer directions"
        )
    samples, due = samples.astype(np.float64), due.astype(np.float64)
    size = float(np.linalg.norm(due))
    basis = np.linalg.qr(np.vstack([due / size, directions]).T)[0].T
    basis[0] = due / size  # whose sign the decomposition may turn
    along, mean = samples @ basis.T, samples.mean(0)
    expected = basis @ due
    shown = along.mean(0)
    whole = hotelling(along, expected)
    return Bias(
        length=float(shown[0] / size),
        error=float(1.96 * along[:, 0].std(ddof=1) / np.sqrt(len(samples)) / size),
        cosine=float(shown[0] / np.linalg.norm(shown)),
        p=min(2 * min(whole, _largest(samples, mean - due)), 1.0),
        p_direction=hotelling(along[:, 1:], expected[1:]),
        noise=float(np.sqrt(samples.var(0, ddof=1).sum()) / size),
    )


def hotelling(samples: Float64[np.ndarray, "K M"], expected: Float64[np.ndarray, " M"]) -> float:
    """How likely a mean as far off as this one is, or farther, were it that of the distribution."""
    count, sizes = samples.shape
    off = samples.mean(0) - expected
    covariance = np.atleast_2d(np.cov(samples, rowvar=False))
    statistic = count * off @ np.linalg.solve(covariance, off) * (count - sizes) / (sizes * (count - 1))
    return float(stats.f.sf(statistic, sizes, count - sizes))


def _largest(samples: Float64[np.ndarray, "K D"], off: Float64[np.ndarray, " D"]) -> float:
    """The same of the largest deviation of all parameters, but for those whose gradient is rounding alone."""
    errors = samples.std(0, ddof=1) / np.sqrt(len(samples))
    moved = errors > ROUNDING * errors.max()
    largest = float((np.abs(off[moved]) / errors[moved]).max())
    return float(min(2 * stats.t.sf(largest, len(samples) - 1) * moved.sum(), 1.0))
