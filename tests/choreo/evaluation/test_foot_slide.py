"""How far planted feet glide."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.errors import InvalidInput
from choreo.evaluation.foot_slide import foot_slide_mm


def gliding(left: float, right: float, fps: float = 30) -> np.ndarray:
    """60 frames of flat feet, of which each glides at its speed, m/s, along a diagonal of the floor."""
    p = np.zeros((60, 22, 3))
    p[:, [7, 8], 1] = 0.08
    p[:, [10, 11], 1] = 0.02
    for joints, speed in (((7, 10), left), ((8, 11), right)):
        p[:, joints] += np.arange(60)[:, None, None] * speed / fps * np.array([0.6, 0, -0.8])
    return p


@pytest.mark.parametrize("fps", [20.0, 30.0, 60.0])
def test_golden_values(fps: float) -> None:
    assert foot_slide_mm(gliding(0, 0, fps), fps) == 0
    assert foot_slide_mm(gliding(0.3, 0.3, fps), fps) == pytest.approx(10)
    assert foot_slide_mm(gliding(0.3, 0.9, fps), fps) == pytest.approx(20)


def test_only_steps_between_frames_in_which_the_foot_is_down_count() -> None:
    p = gliding(0.3, 0)
    p[30:, [7, 10], 1] += 1
    p[30:, [7, 10], 0] += 5  # the step in which it leaves the floor
    assert foot_slide_mm(p) == pytest.approx(5)
    p[:, [8, 11], 1] += 1  # the right foot is never down
    assert foot_slide_mm(p) == pytest.approx(10)
    p[:, [7, 10], 1] += 1
    assert foot_slide_mm(p) is None


@settings(deadline=None, max_examples=25)
@given(st.floats(0, 3), st.floats(0, 3), st.floats(-np.pi, np.pi), st.floats(0, 10))
def test_it_is_the_mean_speed_wherever_the_dancer_goes(left: float, right: float, angle: float, away: float) -> None:
    c, s = np.cos(angle), np.sin(angle)
    turned = gliding(left, right) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) + (away, 0, -away)
    assert foot_slide_mm(turned) == pytest.approx((left + right) / 2 * 1000 / 30, abs=1e-6)


def test_broken_motion_is_refused() -> None:
    for bad in (np.ones((1, 22, 3)), np.ones((9, 24, 3)), np.full((9, 22, 3), np.nan)):
        with pytest.raises(InvalidInput):
            foot_slide_mm(bad)
