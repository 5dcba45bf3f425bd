"""Foot-sliding ratio of Lodge."""

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.evaluation.lodge_foot_slide import lodge_foot_slide_ratio


def sliding(speed: float, height: float = 0.0, fps: float = 30, direction: tuple[float, float] = (1, 0)) -> np.ndarray:
    p = np.zeros((60, 22, 3))
    p[:, [7, 8], 1] = 0.08 + height
    p[:, [10, 11], 1] = 0.02 + height
    path = np.arange(60)[:, None, None] * speed / fps * np.array(direction) / np.hypot(*direction)
    p[:, [7, 8, 10, 11]] += np.insert(path, 1, 0, axis=-1)
    return p


@pytest.mark.parametrize("fps", [20.0, 30.0, 60.0])
def test_golden_values(fps: float) -> None:
    assert lodge_foot_slide_ratio(sliding(0, fps=fps), fps) == 0
    assert lodge_foot_slide_ratio(sliding(0.29, fps=fps), fps) == 0
    assert lodge_foot_slide_ratio(sliding(0.31, fps=fps), fps) == 1
    assert lodge_foot_slide_ratio(sliding(1, height=1, fps=fps), fps) is None


def test_a_foot_counts_while_it_is_down_and_feet_are_averaged() -> None:
    p = sliding(1)
    p[20:, [7, 10], 1] += 1  # the left foot leaves the floor
    p[:, [8, 11], 0] = 0  # the right one stands
    assert lodge_foot_slide_ratio(p) == pytest.approx(0.5)
    p[:, [8, 11], 1] += 1
    assert lodge_foot_slide_ratio(p) == 1


def test_a_tilted_foot_is_not_down() -> None:
    p = sliding(1)
    p[:, [7, 8], 1] = 0.2
    assert lodge_foot_slide_ratio(p) is None


def test_the_published_code_does_not_see_one_diagonal() -> None:
    assert lodge_foot_slide_ratio(sliding(1, direction=(1, -1))) == 1
    assert lodge_foot_slide_ratio(sliding(1, direction=(1, -1)), legacy=True) == 0
    assert lodge_foot_slide_ratio(sliding(1, direction=(1, 1)), legacy=True) == pytest.approx(59 / 60)
    # ... and puts the floor where the motion begins.
    assert lodge_foot_slide_ratio(sliding(1, height=1, direction=(1, 1)), legacy=True) == pytest.approx(59 / 60)


def test_broken_motion_is_refused() -> None:
    for bad in (np.ones((1, 22, 3)), np.ones((9, 24, 3))):
        with pytest.raises(InvalidInput):
            lodge_foot_slide_ratio(bad)
