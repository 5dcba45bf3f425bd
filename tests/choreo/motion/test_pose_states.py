"""States of poses: their round trip, and places on the floor to see them from."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from small_duet import couples

from choreo.motion.kinematics import heading
from choreo.motion.pose_states import STATE, Ground, positions_of, rigid, states_of
from choreo.motion.skeleton import BONE_LENGTHS, PARENTS

DANCER = couples()[0].dancers[0]


def test_positions_come_back_from_states() -> None:
    states = states_of(DANCER)
    assert states.shape == (len(DANCER), STATE)
    np.testing.assert_allclose(positions_of(states), DANCER, atol=1e-6)
    np.testing.assert_allclose(rigid(states), states, atol=1e-9)


def test_bones_keep_their_lengths_whatever_the_numbers_are() -> None:
    positions = positions_of(np.random.default_rng(0).normal(size=(20, STATE)))
    lengths = np.linalg.norm(positions[:, 1:] - positions[:, list(PARENTS[1:])], axis=-1)
    np.testing.assert_allclose(lengths, np.broadcast_to(BONE_LENGTHS[1:], lengths.shape), atol=1e-9)


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(-4, 4))
def test_seeing_from_a_place_moves_poses_and_states_alike(x: float, z: float, turn: float) -> None:
    ground, states = Ground(x, z, turn), states_of(DANCER[:3])
    seen = ground.seen_states(states)
    np.testing.assert_allclose(positions_of(seen), ground.seen(DANCER[:3]), atol=1e-6)
    np.testing.assert_allclose(ground.world_states(seen), states, atol=1e-9)


def test_below_a_dancer_they_are_at_the_origin_and_face_forward() -> None:
    seen = Ground.below(DANCER[5]).seen(DANCER[5:6])
    np.testing.assert_allclose(seen[0, 0, [0, 2]], 0, atol=1e-9)
    np.testing.assert_allclose(heading(seen), 0, atol=1e-9)
