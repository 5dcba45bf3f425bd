"""Diversity: how different motions are from one another, over a set or within each condition."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from choreo.errors import InvalidInput
from choreo.evaluation.checks import Array, feature_set

DIVERSITY_PAIRS: Final = 300
MULTIMODALITY_PAIRS: Final = 10


def diversity(features: NDArray[Any], pairs: int = DIVERSITY_PAIRS, seed: int = 0) -> float:
    """Mean L2 distance of random pairs of different rows (Guo et al. 2022), in a joint text-motion embedding.

    Args:
        features: (N, D).
        pairs: number of pairs drawn, with replacement.
        seed: of the draw.
    Raises:
        InvalidInput: an unusable set, or fewer than two rows.
    """
    values = feature_set(features, "features", smallest=2)
    return _mean_of_pairs(values, pairs, np.random.default_rng(seed))


def multimodality(conditions: Sequence[NDArray[Any]], pairs: int = MULTIMODALITY_PAIRS, seed: int = 0) -> float:
    """Mean over conditions of the mean L2 distance of random pairs generated from that one condition.

    Guo et al. 2022, who use 100 texts, 30 motions of each and 10 pairs.

    Args:
        conditions: one (n, D) array per condition.
        pairs: number of pairs drawn per condition, with replacement.
        seed: of the draws.
    Raises:
        InvalidInput: no condition, an unusable set, or fewer than two motions of a condition.
    """
    if not len(conditions):
        raise InvalidInput("conditions", "must hold at least one condition")
    rng = np.random.default_rng(seed)
    sets = [feature_set(values, f"conditions[{i}]", smallest=2) for i, values in enumerate(conditions)]
    return float(np.mean([_mean_of_pairs(values, pairs, rng) for values in sets]))


def mean_distance(features: NDArray[Any]) -> float:
    """Mean L2 distance over all pairs: Dist_k and Dist_g of standardised dance features (Siyao et al. 2022).

    Args:
        features: (N, D).
    Raises:
        InvalidInput: an unusable set, or fewer than two rows.
    """
    return float(pdist(feature_set(features, "features", smallest=2)).mean())


def _mean_of_pairs(values: Array, pairs: int, rng: np.random.Generator) -> float:
    if pairs < 1:
        raise InvalidInput("pairs", f"must be at least 1, got {pairs}")
    first = rng.integers(len(values), size=pairs)
    second = (first + rng.integers(1, len(values), size=pairs)) % len(values)
    return float(np.linalg.norm(values[first] - values[second], axis=1).mean())
