"""Frechet distance between two sets of features, modelled as normal distributions."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.evaluation.checks import Array, feature_set, same_width

HUMANML3D_EPS: Final = 1e-6
"""Ridge added to singular covariances in text-to-motion work (Guo et al. 2022)."""
DANCE_EPS: Final = 1e-5
"""The same in dance generation (Siyao et al. 2022)."""
IMAGINARY: Final = 1e-3
"""Largest imaginary part of the matrix root that is put down to rounding; beyond it a matrix is no covariance."""
SPLITS: Final = 20
"""Number of random splits of a reference into halves, over which its floor is averaged."""


@dataclass(frozen=True)
class FrechetDistance:
    """A distance and what its reliability depends on.

    Attributes:
        value: squared distance, in squared units of the features.
        n: size of the smaller set.
        dim: number of features.
    """

    value: float
    n: int
    dim: int

    @property
    def reliable(self) -> bool:
        """Whether both covariances can have full rank: more rows than features."""
        return self.n > self.dim


def frechet_distance(subject: NDArray[Any], reference: NDArray[Any], eps: float = HUMANML3D_EPS) -> FrechetDistance:
    """|m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2)) in float64 (Heusel et al. 2017).

    Args:
        subject: (N, D).
        reference: (M, D).
        eps: ridge added to both covariances if one of them is singular.
    Raises:
        InvalidInput: unusable sets, fewer than two rows, or different dimensions.
    """
    truth = feature_set(reference, "reference", smallest=2)
    values = feature_set(subject, "subject", smallest=2)
    same_width(truth, values, "subject")
    value = frechet_of_moments(*moments(values), *moments(truth), eps)
    return FrechetDistance(value, min(len(values), len(truth)), truth.shape[1])


def frechet_floor(reference: NDArray[Any], n: int, eps: float = HUMANML3D_EPS, seed: int = 0) -> float:
    """Expected distance between the reference and n new samples of its own distribution: the finite-sample bias.

    It is the mean distance of random halves of the reference, scaled from their sizes to n and M, because the distance
    of samples from equal distributions is proportional to 1/n + 1/m. A measured distance close to it shows no
    difference. Nothing is assumed about the distribution: dance features have long tails, which make the floor several
    times that of normal ones.

    Args:
        reference: (M, D).
        n: rows of the set that is compared with the reference.
        eps: ridge added to both covariances if one of them is singular.
        seed: of the splits.
    Raises:
        InvalidInput: an unusable set, or fewer than four rows.
    """
    truth = feature_set(reference, "reference", smallest=4)
    rng, middle = np.random.default_rng(seed), len(truth) // 2
    apart = []
    for _ in range(SPLITS):
        rows = rng.permutation(len(truth))
        apart.append(frechet_of_moments(*moments(truth[rows[:middle]]), *moments(truth[rows[middle:]]), eps))
    halves = 1 / middle + 1 / (len(truth) - middle)
    return float(np.mean(apart)) * (1 / n + 1 / len(truth)) / halves


def frechet_of_moments(mean_1: Array, cov_1: Array, mean_2: Array, cov_2: Array, eps: float = HUMANML3D_EPS) -> float:
    """`frechet_distance` from means (D,) and covariances (D, D).

    The trace of the root is computed from the eigenvalues of S1^(1/2) S2 S1^(1/2), which equal those of S1 S2 but stay
    real where the general matrix root of the published code becomes complex by rounding.

    Raises:
        InvalidInput: a covariance has negative eigenvalues, so the root has an imaginary part beyond 1e-3.
    """
    if _singular(cov_1) or _singular(cov_2):
        ridge = eps * np.eye(len(cov_1))
        cov_1, cov_2 = cov_1 + ridge, cov_2 + ridge
    eigenvalues, axes = np.linalg.eigh(cov_1)
    half = axes * _real_root(eigenvalues)
    product = half.T @ cov_2 @ half
    root = _real_root(np.linalg.eigvalsh((product + product.T) / 2))
    difference = mean_1 - mean_2
    spread = max(np.trace(cov_1) + np.trace(cov_2) - 2 * root.sum(), 0.0)
    return float(difference @ difference + spread)


def moments(values: Array) -> tuple[Array, Array]:
    """Mean (D,) and covariance (D, D) of features (N, D)."""
    return values.mean(axis=0), np.atleast_2d(np.cov(values, rowvar=False))


def _singular(covariance: Array) -> bool:
    eigenvalues = np.linalg.eigvalsh(covariance)
    return bool(eigenvalues[0] <= len(covariance) * np.finfo(np.float64).eps * max(eigenvalues[-1], 0.0))


def _real_root(eigenvalues: Array) -> Array:
    """Square roots of eigenvalues, of which those that are negative by rounding count as 0.

    Raises:
        InvalidInput: an eigenvalue is more negative than rounding explains.
    """
    imaginary = np.sqrt(max(-eigenvalues.min(), 0.0))
    rounding = np.sqrt(len(eigenvalues) * np.finfo(np.float64).eps * np.abs(eigenvalues).max())
    if imaginary > IMAGINARY + rounding:
        raise InvalidInput("covariance", f"has an imaginary root ({imaginary:.2g} i); it is no covariance matrix")
    return np.sqrt(np.maximum(eigenvalues, 0.0))
