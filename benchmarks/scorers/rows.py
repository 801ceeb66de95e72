"""One row a (data set, scorer): a value, its 95% bootstrap interval, chance, and what the scorer was fitted to."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

RESAMPLES = 1000


@dataclass(frozen=True)
class Row:
    """What was measured of one scorer on one data set.

    Attributes:
        data: the data set and what of it.
        scorer: the expression.
        measure: ``accuracy``, ``Spearman`` or ``share``.
        value: the measure.
        low: lower end of the 95% interval.
        high: upper end.
        n: what was resampled: pairs, texts or stories.
        chance: what a scorer that knows nothing reaches.
        fitted: the text that the scorer was fitted to, and its size; empty for none.
    """

    data: str
    scorer: str
    measure: str
    value: float
    low: float
    high: float
    n: int
    chance: float
    fitted: str = ""

    def to_json(self) -> dict[str, Any]:
        """The row, numbers with four digits."""
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}


def mean_row(
    data: str,
    scorer: str,
    measure: str,
    hits: Float64[np.ndarray, " N"],
    *,
    chance: float,
    fitted: str = "",
    weights: Float64[np.ndarray, " N"] | None = None,
) -> Row:
    """A (weighted) mean over N units, which are resampled by percentiles."""
    from scipy.stats import bootstrap

    weights = np.ones(len(hits)) if weights is None else weights

    def mean(values: np.ndarray, weight: np.ndarray, axis: int = -1) -> np.ndarray:
        out: np.ndarray = (values * weight).sum(axis=axis) / weight.sum(axis=axis)
        return out

    value = float(mean(hits, weights))
    if np.ptp(hits) == 0:
        return Row(data, scorer, measure, value, value, value, len(hits), chance, fitted)
    found = bootstrap(
        (hits, weights),
        mean,
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=RESAMPLES,
        batch=100,
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Row(data, scorer, measure, value, float(found.low), float(found.high), len(hits), chance, fitted)


def spearman_row(
    data: str, scorer: str, values: Float64[np.ndarray, " N"], human: Float64[np.ndarray, " N"], *, fitted: str = ""
) -> Row:
    """Spearman's rank correlation with people over the rows that the scorer applies to; texts are resampled."""
    from scipy.stats import rankdata

    applies = ~np.isnan(values)
    pairs = np.stack([values[applies], human[applies]])
    rng = np.random.default_rng(0)

    def rho(sample: np.ndarray) -> float:
        one, other = (rankdata(row) for row in sample)
        spread = one.std() * other.std()
        return float(((one - one.mean()) * (other - other.mean())).mean() / spread) if spread > 0 else 0.0

    count = pairs.shape[1]
    drawn = [rho(pairs[:, rng.integers(count, size=count)]) for _ in range(RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Row(data, scorer, "Spearman", rho(pairs), float(low), float(high), count, 0.0, fitted)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as one table in Markdown."""
    lines = ["| data | scorer | measure | value [95%] | n | chance | fitted to |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        interval = f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        cells = [row["data"], f"`{row['scorer']}`", row["measure"], interval, f"{row['n']:,}"]
        lines.append("| " + " | ".join([*cells, f"{row['chance']:g}", row["fitted"]]) + " |")
    return "\n".join(lines)
