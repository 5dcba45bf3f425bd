"""Frames in which nothing carries the body."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.errors import InvalidInput
from choreo.evaluation.floating import float_percent
from choreo.motion.kinematics import forward_kinematics

FLAT = {7: 0.08, 8: 0.08, 10: 0.02, 11: 0.02}


def standing(rise: np.ndarray) -> np.ndarray:
    """A rest pose on flat feet, lifted by a height of each frame, metres."""
    p = forward_kinematics(np.array([0, 0.95, 0.0]), np.broadcast_to(np.eye(3), (22, 3, 3)))
    p[:, 1] -= p[10, 1] - 0.02
    for joint, height in FLAT.items():
        p[joint, 1] = height
    return np.asarray(p + rise[:, None, None] * (0, 1, 0))


def jump(seconds: float, fps: float, gravity: float = 9.81) -> np.ndarray:
    """Heights of a flight of so many seconds, after and before half a second on the floor."""
    t = np.arange(round((seconds + 1) * fps)) / fps - 0.5
    return np.maximum(0, gravity / 2 * t * (seconds - t))


@pytest.mark.parametrize("fps", [20.0, 30.0, 60.0])
def test_golden_values(fps: float) -> None:
    level = np.zeros(40)
    assert float_percent(standing(level), fps) == 0
    level[10:20] = 0.049
    assert float_percent(standing(level), fps) == 0
    level[10:20] = 0.051
    assert float_percent(standing(level), fps) == pytest.approx(25)
    assert float_percent(standing(np.full(40, 0.2)), fps) == 100


@pytest.mark.parametrize("fps", [20.0, 30.0, 60.0])
@pytest.mark.parametrize("seconds", [0.3, 0.5, 0.8])
def test_jumps_do_not_float_and_slow_ones_do(seconds: float, fps: float) -> None:
    assert float_percent(standing(jump(seconds, fps)), fps) == 0
    slow = jump(seconds, fps, gravity=3.0)
    assert float_percent(standing(slow), fps) == pytest.approx(100 * (slow > 0.05).mean())


def test_one_foot_a_hand_or_a_knee_carries_the_body() -> None:
    p = standing(np.full(40, 0.2))
    for joints in ([7, 10], [20], [4]):
        held = p.copy()
        held[:, joints, 1] = [FLAT.get(joint, 0.14) for joint in joints]
        assert float_percent(held) == 0
    high = p.copy()
    high[:, 20, 1] = 0.16
    assert float_percent(high) == 100


def test_a_motion_that_is_too_short_for_a_parabola_floats() -> None:
    assert float_percent(standing(np.array([0.2, 0.3]))) == 100


@settings(deadline=None, max_examples=25)
@given(st.lists(st.booleans(), min_size=4, max_size=60), st.floats(-np.pi, np.pi))
def test_it_is_a_share_that_does_not_depend_on_place_direction_or_order_in_time(up: list[bool], angle: float) -> None:
    p = standing(np.repeat(np.array(up) * 0.3, 5))
    found = float_percent(p)
    assert found == pytest.approx(100 * np.mean(up))
    c, s = np.cos(angle), np.sin(angle)
    turned = p @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) + (3, 0, -2)
    assert float_percent(turned) == pytest.approx(found)
    assert float_percent(p[::-1]) == pytest.approx(found)


def test_broken_motion_is_refused() -> None:
    for bad in (np.ones((1, 22, 3)), np.ones((9, 24, 3)), np.full((9, 22, 3), np.nan)):
        with pytest.raises(InvalidInput):
            float_percent(bad)
    with pytest.raises(InvalidInput):
        float_percent(np.ones((9, 22, 3)), 0)
