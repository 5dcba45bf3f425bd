"""The floor under a motion."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.motion.rotations import axis_angle
from choreo.postprocess.floor import TOLERANCE, floor_curve, lift_above, smooth_envelope

from .synthetic_walk import noisy, standing, walk


def raised(positions: np.ndarray, height: np.ndarray | float) -> np.ndarray:
    out = positions.copy()
    out[..., 1] += np.reshape(height, (-1, 1))
    return out


@pytest.mark.parametrize("height", [-0.3, -0.05, 0.05, 0.3])
@pytest.mark.parametrize("sigma", [0.0, 0.005])
def test_a_walk_at_another_height_stands_on_that_floor(height: float, sigma: float) -> None:
    floor = floor_curve(noisy(raised(walk(), height), sigma))
    assert np.abs(floor - height).max() < TOLERANCE + 0.01


def test_a_motion_on_the_floor_is_left_there() -> None:
    assert np.array_equal(floor_curve(walk()), np.zeros(196))


def test_a_slow_drift_of_height_is_followed() -> None:
    drift = np.linspace(0, 0.15, 600)
    assert np.abs(floor_curve(raised(walk(600), drift)) - drift).max() < 0.03


def test_a_jump_is_not_flattened() -> None:
    jump = 0.4 * np.clip(np.sin(np.linspace(0, 20 * np.pi, 300)), 0, None)  # ten jumps of half a second
    assert np.abs(floor_curve(raised(standing(300), jump))).max() < 0.02


def test_a_dancer_who_lies_is_not_pulled_through_the_floor() -> None:
    lying = standing(200) @ axis_angle(np.array([1.0, 0.0, 0.0]), np.pi / 2).T
    lying[..., 1] -= lying[..., 1].min() - 0.1
    assert np.abs(floor_curve(lying)).max() < 0.06


@pytest.mark.parametrize("frames", [1, 2, 8, 30])
def test_a_short_clip_may_be_a_jump_and_is_only_ever_raised(frames: int) -> None:
    assert np.array_equal(floor_curve(raised(standing(frames), 0.3)), np.zeros(frames))
    assert np.allclose(floor_curve(raised(standing(frames), -0.3)), -0.3 + TOLERANCE)


@given(seed=st.integers(0, 1000), frames=st.integers(1, 80), seconds=st.floats(0.05, 2))
@settings(max_examples=50, deadline=None)
def test_an_envelope_is_above_and_smooth(seed: int, frames: int, seconds: float) -> None:
    need = np.random.default_rng(seed).random(frames)
    top = smooth_envelope(need, seconds)
    assert top.shape == need.shape
    assert (top >= need - 1e-12).all()
    assert top.max() <= need.max() + 1e-12


def test_bodies_are_lifted_out_of_the_floor() -> None:
    heights = np.full((60, 3), 0.5)
    heights[30, 1] = -0.1
    lift = lift_above(heights)
    assert lift[30] >= 0.1
    assert lift[0] == lift[-1] == 0
    assert np.abs(np.diff(lift, n=2)).max() < 0.03
