"""Frechet distance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from choreo.errors import InvalidInput
from choreo.evaluation.frechet import DANCE_EPS, frechet_distance, frechet_floor, frechet_of_moments


def normal(n: int, dim: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, dim)) @ rng.standard_normal((dim, dim))


@pytest.mark.parametrize(("n", "dim"), [(500, 16), (40, 72), (2, 3)])
def test_a_set_is_at_no_distance_from_itself(n: int, dim: int) -> None:
    x = normal(n, dim)
    assert frechet_distance(x, x).value == pytest.approx(0, abs=1e-9 * np.trace(np.cov(x, rowvar=False)))


@given(st.floats(0.01, 10), st.integers(1, 12), st.sampled_from([5, 200]))
def test_a_shift_is_at_its_square(shift: float, dim: int, n: int) -> None:
    x = normal(n, dim)
    moved = x + shift / np.sqrt(dim)
    assert frechet_distance(moved, x).value == pytest.approx(shift**2, rel=1e-5, abs=1e-6)


def test_it_is_the_published_formula_with_the_general_root() -> None:
    a, b = normal(300, 12), 0.7 * normal(400, 12, seed=1) + 0.3
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    difference = a.mean(axis=0) - b.mean(axis=0)
    published = difference @ difference + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet_distance(a, b).value == pytest.approx(published)
    assert frechet_distance(b, a).value == pytest.approx(published)


def test_one_feature_is_the_textbook_case() -> None:
    a, b = normal(1000, 1), 3 * normal(1000, 1, seed=2)
    expected = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert frechet_distance(a, b).value == pytest.approx(expected)


def test_a_sample_smaller_than_its_dimension_says_so() -> None:
    assert not frechet_distance(normal(40, 72), normal(500, 72, seed=1)).reliable
    assert not frechet_distance(normal(500, 72), normal(72, 72, seed=1)).reliable
    found = frechet_distance(normal(500, 72), normal(73, 72, seed=1), DANCE_EPS)
    assert (found.reliable, found.n, found.dim) == (True, 73, 72)
    assert np.isfinite(found.value)


@pytest.mark.parametrize("draw", ["standard_normal", "standard_exponential"])
@pytest.mark.parametrize("n", [150, 900])
def test_the_floor_is_what_equal_distributions_are_apart(draw: str, n: int) -> None:
    rng = np.random.default_rng(3)
    scale = np.linspace(0.2, 3, 8)
    pairs = [(getattr(rng, draw)((n, 8)) * scale, getattr(rng, draw)((400, 8)) * scale) for _ in range(60)]
    found = np.mean([frechet_distance(a, b).value for a, b in pairs])
    assert found == pytest.approx(np.mean([frechet_floor(b, n) for _, b in pairs[:12]]), rel=0.2)


def test_what_is_no_covariance_has_an_imaginary_root_and_is_refused() -> None:
    with pytest.raises(InvalidInput, match="imaginary"):
        frechet_of_moments(np.zeros(2), np.diag([1.0, -0.5]), np.zeros(2), np.eye(2))


@pytest.mark.parametrize(
    ("subject", "field"),
    [
        (np.ones((1, 3)), "subject"),
        (np.full((9, 3), np.nan), "subject"),
        (np.ones((9, 4)), "subject"),
        (np.ones(9), "subject"),
        (np.ones((0, 3)), "subject"),
        (np.array([["a", "b", "c"]] * 3), "subject"),
    ],
)
def test_broken_sets_are_refused(subject: np.ndarray, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        frechet_distance(subject, normal(9, 3))
    assert caught.value.field == field
