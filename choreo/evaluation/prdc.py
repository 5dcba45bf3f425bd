"""Precision, recall, density, coverage: fidelity and variety measured separately by nearest neighbours."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from choreo.errors import InvalidInput
from choreo.evaluation.checks import Array, feature_set, same_width

NEIGHBOURS: Final = 5


@dataclass(frozen=True)
class Prdc:
    """Four numbers, higher is better; all but density are in [0, 1], and the density of equal sets is about 1.

    Attributes:
        precision: share of the subject's rows within any neighbourhood of the reference.
        recall: share of the reference's rows within any neighbourhood of the subject.
        density: mean number of reference neighbourhoods that contain a row of the subject, divided by k; robust to
            outliers in the reference.
        coverage: share of the reference's neighbourhoods that contain a row of the subject.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(subject: NDArray[Any], reference: NDArray[Any], k: int = NEIGHBOURS) -> Prdc:
    """The metrics of Naeem et al. 2020, as in the `prdc` package; precision and recall are Kynkaanniemi et al. 2019.

    A neighbourhood is the open ball around a point whose radius is the distance to its k-th nearest other point of the
    same set.

    Args:
        subject: (N, D).
        reference: (M, D).
        k: number of neighbours.
    Raises:
        InvalidInput: unusable sets, different dimensions, or at most k rows in one of them.
    """
    if k < 1:
        raise InvalidInput("k", f"must be at least 1, got {k}")
    truth = feature_set(reference, "reference", smallest=k + 1)
    values = feature_set(subject, "subject", smallest=k + 1)
    same_width(truth, values, "subject")
    return prdc_of_distances(cdist(truth, values), radii(cdist(truth, truth), k), cdist(values, values), k)


def prdc_of_distances(between: Array, around_reference: Array, within_subject: Array, k: int = NEIGHBOURS) -> Prdc:
    """`prdc` from precomputed distances.

    Args:
        between: (M, N) distances from each row of the reference to each of the subject.
        around_reference: (M,) radii of the reference's neighbourhoods.
        within_subject: (N, N) distances between the rows of the subject.
        k: number of neighbours.
    """
    in_reference = between < around_reference[:, None]
    in_subject = between < radii(within_subject, k)[None, :]
    return Prdc(
        precision=float(in_reference.any(axis=0).mean()),
        recall=float(in_subject.any(axis=1).mean()),
        density=float(in_reference.sum(axis=0).mean() / k),
        coverage=float(in_reference.any(axis=1).mean()),
    )


def radii(distances: Array, k: int = NEIGHBOURS) -> Array:
    """Distance (N,) from each row of a set to its k-th nearest other row, given all distances (N, N)."""
    return np.asarray(np.partition(distances, k, axis=1)[:, k])
