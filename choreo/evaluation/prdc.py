"""Precision, recall, density, coverage: fidelity and variety measured separately by nearest neighbours."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from choreo.evaluation.checks import Array

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


def prdc_of_distances(between: Array, around_reference: Array, within_subject: Array, k: int = NEIGHBOURS) -> Prdc:
    """The metrics of Naeem et al. 2020, as in the `prdc` package; precision and recall are Kynkaanniemi et al. 2019.

    A neighbourhood is the open ball around a point whose radius is the distance to its k-th nearest other point of the
    same set, which must have more than k.

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
