"""Precision, recall, density, coverage."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from choreo.evaluation.prdc import NEIGHBOURS, Prdc, prdc_of_distances, radii


def cloud(n: int, dim: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dim))


def prdc(subject: np.ndarray, reference: np.ndarray, k: int = NEIGHBOURS) -> Prdc:
    return prdc_of_distances(
        cdist(reference, subject), radii(cdist(reference, reference), k), cdist(subject, subject), k
    )


def by_loops(subject: np.ndarray, reference: np.ndarray, k: int) -> Prdc:
    def radius(points: np.ndarray, i: int) -> float:
        return sorted(np.linalg.norm(points - points[i], axis=1))[k]

    within = np.array([[np.linalg.norm(f - r) < radius(reference, i) for f in subject]
                       for i, r in enumerate(reference)])  # fmt: skip
    reached = np.array([[np.linalg.norm(f - r) < radius(subject, j) for j, f in enumerate(subject)]
                        for r in reference])  # fmt: skip
    return Prdc(
        within.any(axis=0).mean(), reached.any(axis=1).mean(), within.sum(axis=0).mean() / k, within.any(axis=1).mean()
    )


@pytest.mark.parametrize(("n", "m", "k"), [(20, 30, 5), (30, 20, 3), (6, 40, 5)])
def test_it_is_the_definition_for_sets_of_different_sizes(n: int, m: int, k: int) -> None:
    subject, reference = cloud(n, seed=1) + 0.5, cloud(m)
    found, expected = prdc(subject, reference, k), by_loops(subject, reference, k)
    for name in ("precision", "recall", "density", "coverage"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name)), name


def test_equal_distributions_score_high() -> None:
    found = prdc(cloud(1000, seed=1), cloud(1000))
    assert min(found.precision, found.recall, found.coverage) > 0.9
    assert found.density == pytest.approx(1, abs=0.1)


def test_half_of_the_subject_collapsed_has_little_recall() -> None:
    """Four fifths of the truth is out of reach: recall says so, precision does not."""
    rng = np.random.default_rng(0)
    modes = 50.0 * np.arange(5)[:, None]
    truth = np.concatenate([rng.standard_normal((200, 8)) + mode for mode in modes])
    collapsed = np.concatenate([rng.standard_normal((250, 8)), np.repeat(rng.standard_normal((1, 8)), 250, axis=0)])
    found = prdc(collapsed, truth)
    assert found.recall == pytest.approx(0.20, abs=0.02)
    assert found.precision > 0.9
    assert found.coverage == pytest.approx(0.20, abs=0.02)


def test_swapping_the_roles_swaps_precision_and_recall() -> None:
    a, b = cloud(80), 0.5 * cloud(120, seed=1)
    there, back = prdc(a, b), prdc(b, a)
    assert (there.precision, there.recall) == (back.recall, back.precision)


def test_far_apart_is_nothing() -> None:
    assert prdc(cloud(50) + 100, cloud(50)) == Prdc(0, 0, 0, 0)
