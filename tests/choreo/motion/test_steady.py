"""Steady directions: trusted frames keep their values, others lie between them, and nothing turns too fast."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from choreo.motion import rotations as rot
from choreo.motion.steady import TRUSTED, slerp, steady_directions, steady_rotations

FASTEST = np.radians(20)


def turns(directions: np.ndarray) -> np.ndarray:
    return np.arccos(np.clip((directions[1:] * directions[:-1]).sum(-1), -1, 1))


def around(angles: np.ndarray) -> np.ndarray:
    """Directions (T, 1, 3) in the horizontal plane."""
    return np.stack([np.cos(angles), np.zeros_like(angles), np.sin(angles)], axis=-1)[:, None]


def test_calm_and_trusted_directions_are_returned_as_they_are() -> None:
    directions = around(np.linspace(0, 3, 30))
    assert steady_directions(directions, np.ones((30, 1)), FASTEST) is directions


def test_what_is_not_trusted_is_interpolated_along_the_great_circle() -> None:
    angles = np.linspace(0, 1, 21)
    confidence = np.ones((21, 1))
    given_angles = angles.copy()
    given_angles[8:13] += 2
    confidence[8:13] = 0
    steady = steady_directions(around(given_angles), confidence, FASTEST)
    assert np.abs(steady - around(angles)).max() < 1e-12


def test_before_the_first_and_after_the_last_trusted_frame_the_direction_is_held() -> None:
    directions = around(np.linspace(0, 1, 20))
    confidence = np.zeros((20, 1))
    confidence[5:9] = 1
    steady = steady_directions(directions, confidence, FASTEST)
    assert (steady[:5] == directions[5]).all()
    assert (steady[9:] == directions[8]).all()


def test_a_reversal_in_one_frame_is_spread_over_the_frames_that_it_needs() -> None:
    angles = np.where(np.arange(60) < 30, 0.0, np.pi)
    steady = steady_directions(around(angles), np.ones((60, 1)), FASTEST)
    assert turns(steady[:, 0]).max() < FASTEST + 1e-9
    assert (steady[:15] == around(angles)[:15]).all()
    assert (steady[-15:] == around(angles)[-15:]).all()


def test_the_less_a_direction_counts_the_slower_it_may_turn() -> None:
    angles = np.cumsum(np.where(np.arange(20) < 10, 0.9, 0.1)) * FASTEST
    confidence = np.ones((20, 1))
    assert (steady_directions(around(angles), confidence, FASTEST) == around(angles)).all()
    confidence[8:12] = 0.5
    changed = np.abs(steady_directions(around(angles), confidence, FASTEST) - around(angles)).max(axis=(1, 2)) > 1e-9
    assert changed.any()
    assert not changed[:4].any()


def test_a_hopeless_clip_holds_its_best_frame() -> None:
    directions = around(np.linspace(0, 30, 10))
    confidence = np.linspace(0.1, 0.3, 10)[:, None]
    assert (steady_directions(directions, confidence, FASTEST) == directions[9]).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_any_input_gives_unit_vectors_within_the_limit(seed: int, frames: int) -> None:
    rng = np.random.default_rng(seed)
    directions = rot.normalize(rng.normal(size=(frames, 2, 3)))
    confidence = rng.uniform(0, 1, (frames, 2))
    steady = steady_directions(directions, confidence, FASTEST)
    assert np.allclose(np.linalg.norm(steady, axis=-1), 1)
    assert turns(steady[:, 0]).max(initial=0) < FASTEST + 1e-6


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_any_rotations_stay_rotations_within_the_limit(seed: int, frames: int) -> None:
    rng = np.random.default_rng(seed)
    given_rotations = rot.from_six(rng.normal(size=(frames, 6)))
    steady = steady_rotations(given_rotations, rng.uniform(0, 1, frames), FASTEST)
    assert np.allclose(steady @ np.swapaxes(steady, -1, -2), np.eye(3), atol=1e-9)
    step = rot.rotation_vector(np.swapaxes(steady[:-1], -1, -2) @ steady[1:])
    assert np.linalg.norm(step, axis=-1).max(initial=0) < FASTEST + 1e-6


def test_trusted_rotations_keep_their_values() -> None:
    rotations = rot.yaw(np.linspace(0, 2, 30))
    confidence = np.where(np.arange(30) % 7 == 3, 0.0, 1.0)
    steady = steady_rotations(rotations, confidence, FASTEST)
    assert (steady[confidence > TRUSTED] == rotations[confidence > TRUSTED]).all()
    assert np.abs(steady - rotations).max() < 1e-9


def test_opposite_vectors_are_joined_by_some_great_circle() -> None:
    halfway = slerp(np.array([[0.0, 1.0, 0.0]]), np.array([[0.0, -1.0, 0.0]]), np.array([0.5]))
    assert np.allclose(np.linalg.norm(halfway, axis=-1), 1)
    assert abs(halfway[0, 1]) < 1e-9
