"""Geometric features."""

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.evaluation.geometric_features import geometric_features
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.rotations import yaw
from choreo.motion.skeleton import MIRROR

RIGHT = [0, 2, 4, 6, 10, 12, 14, 16, 19, 21, 23, 25, 29]
"""Features of the right side; the next is that of the left."""


def standing(frames: int = 31) -> np.ndarray:
    rest = forward_kinematics(np.array([0, 0.97, 0.0]), np.broadcast_to(np.eye(3), (22, 3, 3)))
    return np.repeat(rest[None], frames, axis=0)


def moving(joint: int, velocity: tuple[float, float, float], fps: float = 30) -> np.ndarray:
    p = standing()
    p[:, joint] += np.arange(len(p))[:, None] / fps * np.array(velocity)
    return p


def random_dance(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return standing(120) + np.cumsum(rng.standard_normal((120, 22, 3)), axis=0) * 0.03


def test_a_t_pose() -> None:
    """Hands 2.5 shoulder widths apart, upper arms away from the trunk; each ankle is behind the other leg's toes."""
    assert set(np.flatnonzero(geometric_features(standing()))) == {8, 14, 15, 23, 24}
    assert set(np.unique(geometric_features(standing()))) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("joint", "velocity", "feature"),
    [
        (21, (0, 0, 0.6), 0),  # right hand forwards
        (20, (0, 0, 0.6), 1),
        (21, (0, 0.6, 0), 4),  # up
        (20, (0, 0.6, 0), 5),
        (21, (-0.6, 0, 0), 10),  # away from the root
        (20, (0.6, 0, 0), 11),
        (21, (0, -0.8, 0), 12),  # fast
        (20, (0, -0.8, 0), 13),
        (8, (0, -0.8, 0), 21),
        (7, (0, -0.8, 0), 22),
        (0, (0, 0, 0.7), 31),
    ],
)
def test_what_moves_is_seen(joint: int, velocity: tuple[float, float, float], feature: int) -> None:
    assert geometric_features(moving(joint, velocity))[feature] > 0.8
    assert geometric_features(moving(joint, (0.3 * np.array(velocity)).tolist()))[feature] == 0


def test_poses_are_seen() -> None:
    raised = standing()
    raised[:, 21] = raised[:, 12] + (0, 0.2, 0)  # right hand above the neck
    assert geometric_features(raised)[2] == 1
    assert geometric_features(raised)[3] == 0
    step = standing()
    step[:, [8, 11], 2] += 0.3  # right foot in front of the left leg
    assert geometric_features(step)[14] == 0
    assert geometric_features(step)[15] == 1
    low = standing()
    low[:, 20, 1] = 0.2
    assert geometric_features(low)[30] == 1
    lying = standing()[..., [0, 2, 1]]
    assert geometric_features(lying)[28] == 1


def test_the_mirror_image_has_left_for_right() -> None:
    p = random_dance()
    mirrored = p[:, MIRROR] * (-1, 1, 1)
    order = np.arange(32)
    for right in RIGHT:
        order[[right, right + 1]] = right + 1, right
    np.testing.assert_array_equal(geometric_features(mirrored)[order], geometric_features(p))


def test_place_and_direction_do_not_matter() -> None:
    p = random_dance()
    np.testing.assert_array_equal(geometric_features(p @ yaw(0.7).T + (3, 1, -2)), geometric_features(p))


def test_speeds_are_true_at_any_rate() -> None:
    for fps in (20.0, 30.0, 60.0):
        assert geometric_features(moving(21, (0, 0.6, 0), fps), fps)[4] > 0.8
        assert geometric_features(moving(21, (0, 0.4, 0), fps), fps)[4] == 0


def test_the_published_code_never_sees_a_hand_move_up_and_takes_speeds_for_twice_what_they_are() -> None:
    up = moving(21, (0, 0.6, 0))
    assert geometric_features(up, legacy=True)[4] == 0
    slow = moving(21, (0, -0.5, 0))
    assert geometric_features(slow)[12] == 0
    assert geometric_features(slow, legacy=True)[12] == 1
    legacy = geometric_features(random_dance(), legacy=True)
    assert legacy[4] == legacy[5]


def test_joints_that_coincide_are_in_no_relation_of_direction() -> None:
    found = geometric_features(np.zeros((5, 22, 3)))
    assert set(np.flatnonzero(found)) == {29, 30}


def test_broken_motion_is_refused() -> None:
    for bad in (standing(1), standing()[:, :21], np.full((5, 22, 3), np.inf)):
        with pytest.raises(InvalidInput):
            geometric_features(bad)
