"""Float and penetration of feet."""

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.evaluation.foot_height import foot_float_cm, foot_penetration_cm


def at(left: float, right: float) -> np.ndarray:
    p = np.zeros((10, 22, 3))
    p[:, [7, 8], 1], p[:, [10, 11], 1] = 0.08, 0.02
    p[:, [7, 10], 1] += left
    p[:, [8, 11], 1] += right
    return p


@pytest.mark.parametrize(
    ("left", "right", "floating", "deep"),
    [(0, 0, 0, 0), (0.3, 0.105, 10, 0), (0.004, -0.004, 0, 0), (0.2, -0.025, 0, 2)],
)
def test_golden_values(left: float, right: float, floating: float, deep: float) -> None:
    assert foot_float_cm(at(left, right)) == pytest.approx(floating, abs=1e-9)
    assert foot_penetration_cm(at(left, right)) == pytest.approx(deep, abs=1e-9)


def test_positions_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InvalidInput):
        foot_float_cm(at(np.nan, 0))
