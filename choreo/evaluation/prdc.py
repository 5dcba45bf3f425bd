"""Precision, recall, density, coverage: fidelity and variety told apart by nearest neighbours."""

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
    """Four numbers, higher is better; all but density are in [0, 1], and density of equal sets is about 1.

    Attributes:
        precision: share of the subject that lies within the reference.
        recall: share of the reference that lies within the subject.
        density: how many reference neighbourhoods a subject lies in, over k; robust against outliers of the reference.
        coverage: share of the reference's neighbourhoods that hold a subject.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(subject: NDArray[Any], reference: NDArray[Any], k: int = NEIGHBOURS) -> Prdc:
    """Naeem et al. 2020, as in the `prdc` package; precision and recall are those of Kynkaanniemi et al. 2019.

    A neighbourhood is the open ball around a point that reaches to its k-th nearest other point of the same set.

    Args:
        subject: (N, D).
        reference: (M, D).
        k: neighbours.
    Raises:
        InvalidInput: broken sets, different dimensions, or not more than k rows in one of them.
    """
    if k < 1:
        raise InvalidInput("k", f"must be at least 1, got {k}")
    truth = feature_set(reference, "reference", smallest=k + 1)
    values = feature_set(subject, "subject", smallest=k + 1)
    same_width(truth, values, "subject")
    return prdc_of_distances(cdist(truth, values), radii(cdist(truth, truth), k), cdist(values, values), k)


def prdc_of_distances(between: Array, around_reference: Array, within_subject: Array, k: int = NEIGHBOURS) -> Prdc:
    """The same from distances that are already there.

    Args:
        between: (M, N) from each row of the reference to each of the subject.
        around_reference: (M,) radii of the reference.
        within_subject: (N, N).
        k: neighbours.
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
    """Distance (N,) of each row of a set to its k-th nearest other row, of those between all rows (N, N)."""
    return np.asarray(np.partition(distances, k, axis=1)[:, k])
