"""Twist over time: none where a bone is near rest, steady where it folds back, and never a change of its direction."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from choreo.motion import rotations as rot
from choreo.motion.twist import steady_swing

REST = np.array([[0.25, 0.0, 0.0]])


def per_frame(rotations: np.ndarray) -> np.ndarray:
    return np.degrees(np.linalg.norm(rot.rotation_vector(np.swapaxes(rotations[:-1], -1, -2) @ rotations[1:]), axis=-1))


def past_the_opposite(frames: int, aside: float, reach: float = 0.12) -> np.ndarray:
    """Directions (T, 1, 3) that pass the opposite of rest at a distance of `aside` radians."""
    angle = np.linspace(-reach, reach, frames)
    out = np.stack([-np.cos(angle) * np.cos(aside), np.sin(angle), np.full(frames, np.sin(aside))], axis=1)
    return rot.normalize(out)[:, None]


def test_near_rest_there_is_no_twist() -> None:
    rng = np.random.default_rng(0)
    directions = rot.normalize(REST[0] + 0.1 * rng.normal(size=(50, 1, 3)))
    near = (rot.dot(rot.normalize(REST), directions) > -0.5).all()
    assert near
    assert (steady_swing(REST, directions) == rot.shortest_arc(REST, directions)).all()


def test_a_bone_that_passes_the_opposite_of_rest_does_not_spin() -> None:
    for aside in (0.05, 0.01, 1e-6, 0.0):
        turn = per_frame(steady_swing(REST, past_the_opposite(40, aside))[:, 0])
        assert turn.max() < 2, aside


def test_a_bone_that_folds_and_unfolds_comes_back_without_twist() -> None:
    directions = past_the_opposite(81, 0.03, reach=3.0)
    swing = steady_swing(REST, directions)
    assert np.allclose(swing[[0, -1]], rot.shortest_arc(REST, directions)[[0, -1]])
    bone = np.degrees(np.arccos(np.clip((directions[1:, 0] * directions[:-1, 0]).sum(-1), -1, 1)))
    assert per_frame(swing[:, 0]).max() < 3 * bone.max()


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_bones_always_point_where_they_should(seed: int, frames: int) -> None:
    rng = np.random.default_rng(seed)
    rest = rng.normal(size=(3, 3))
    directions = rot.normalize(np.cumsum(rng.normal(size=(frames, 3, 3)), axis=0))
    pointed = (steady_swing(rest, directions) @ rot.normalize(rest)[..., None])[..., 0]
    assert np.allclose(pointed, directions, atol=1e-9)
