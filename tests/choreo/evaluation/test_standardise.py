"""Scale of the dance feature spaces."""

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.evaluation.standardise import standardise


def test_the_reference_has_mean_nothing_and_deviation_one() -> None:
    truth = np.random.default_rng(0).standard_normal((50, 4)) * (1, 2, 3, 0) + 5
    found = standardise(truth, truth)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(found.std(axis=0), (1, 1, 1, 0), atol=1e-9)
    higher = truth + truth.std(axis=0)
    np.testing.assert_allclose(standardise(higher, truth)[:, :3], found[:, :3] + 1)


def test_different_dimensions_are_refused() -> None:
    with pytest.raises(InvalidInput):
        standardise(np.ones((3, 2)), np.ones((3, 3)))
