"""95 % confidence intervals: of a mean, of a share, and of a metric that belongs to a whole set."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from choreo.errors import InvalidInput

NORMAL: Final = 1.96
"""A normal variable lies within this many standard deviations of its mean with probability 95 %."""
DRAWS: Final = 100
"""Random halves drawn for the interval of a set's metric."""
Rows = NDArray[np.int64]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """value +- half.

    Attributes:
        value: the number.
        half: half the width of its 95 % interval; None for a single observation, whose spread is unknown.
        n: number of observations.
    """

    value: float
    half: float | None
    n: int


def mean_interval(values: ArrayLike) -> Interval:
    """Mean +- 1.96 std / sqrt(n) of independent observations: clips, or the replications of an evaluation.

    Guo et al. 2022 use 20 replications. The standard deviation is that of the sample (divisor n - 1).

    Raises:
        InvalidInput: no observation, NaN or infinity.
    """
    x = np.asarray(values, np.float64).reshape(-1)
    if not len(x):
        raise InvalidInput("values", "must hold at least one observation")
    if not np.isfinite(x).all():
        raise InvalidInput("values", "holds NaN or infinite numbers")
    half = NORMAL * float(x.std(ddof=1)) / len(x) ** 0.5 if len(x) > 1 else None
    return Interval(float(x.mean()), half, len(x))


def share_interval(share: float, n: int) -> float:
    """Half the width of the 95 % interval of a share of n independent trials, by the normal approximation."""
    return float(NORMAL * (share * (1 - share) / n) ** 0.5)


def half_sampling(metric: Callable[[Rows], ArrayLike], n: int, draws: int = DRAWS, seed: int = 0) -> Array:
    """Half the width of the 95 % interval of a metric of a set of n clips: 1.96 std over random halves of the set.

    The metric of a half drawn without replacement varies around that of the set as the latter does around the true
    value: the variance of the mean of a half is s^2 / (n / 2) (1 - 1 / 2) = s^2 / n. A bootstrap would repeat clips,
    which would become their own nearest neighbours and lower the rank of covariances.

    Args:
        metric: value, or values (m,), of the n // 2 rows it is given.
        n: number of clips.
        draws: number of halves.
        seed: of the draws.
    Returns:
        An array of the shape of the metric's result.
    Raises:
        InvalidInput: fewer than four clips.
    """
    if n < 4:
        raise InvalidInput("n", f"must be at least 4 clips, got {n}")
    rng = np.random.default_rng(seed)
    halves = np.array([metric(rng.permutation(n)[: n // 2]) for _ in range(draws)], np.float64)
    return np.asarray(NORMAL * halves.std(axis=0, ddof=1))
