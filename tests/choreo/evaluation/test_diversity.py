"""Diversity, multimodality, mean distance."""

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.evaluation.diversity import diversity, mean_distance, multimodality


def test_golden_values() -> None:
    corners = np.array([[0.0, 0], [3, 0], [0, 4]])
    assert mean_distance(corners) == pytest.approx(4)
    assert diversity(corners, pairs=20_000) == pytest.approx(4, rel=0.01)
    assert diversity(corners[:2], pairs=1) == 3  # never of a row with itself
    assert diversity(np.ones((50, 8))) == 0


def test_of_normal_features_it_is_about_the_root_of_twice_the_dimension() -> None:
    x = np.random.default_rng(0).standard_normal((2000, 512))
    assert diversity(x) == pytest.approx(np.sqrt(2 * 512), rel=0.01)
    assert mean_distance(x[:300]) == pytest.approx(np.sqrt(2 * 512), rel=0.01)


def test_the_seed_decides() -> None:
    x = np.random.default_rng(0).standard_normal((400, 4))
    assert diversity(x, seed=1) == diversity(x, seed=1) != diversity(x, seed=2)


def test_multimodality_is_within_conditions() -> None:
    near = [np.full((30, 4), 100.0 * i) for i in range(5)]
    assert multimodality(near) == 0
    assert multimodality([np.array([[0.0], [2.0]]), np.array([[0.0], [4.0]])]) == pytest.approx(3)


def test_too_little_is_refused() -> None:
    for metric in (diversity, mean_distance):
        with pytest.raises(InvalidInput):
            metric(np.ones((1, 3)))
    with pytest.raises(InvalidInput):
        multimodality([])
    with pytest.raises(InvalidInput) as caught:
        multimodality([np.ones((2, 3)), np.ones((1, 3))])
    assert caught.value.field == "conditions[1]"
    with pytest.raises(InvalidInput):
        diversity(np.ones((3, 3)), pairs=0)
