"""Counts of frames that no body dances."""

import numpy as np
import pytest

from choreo.evaluation.impossible_frames import ImpossibleFrames, impossible_frames
from choreo.motion import rotations as rot
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.skeleton import L_ELBOW, L_SHOULDER, L_WRIST, NUM_JOINTS


def standing(frames: int, yaw: np.ndarray | float = 0.0) -> np.ndarray:
    local = np.broadcast_to(np.eye(3), (frames, NUM_JOINTS, 3, 3)).copy()
    local[:, 0] = rot.yaw(np.broadcast_to(yaw, (frames,)))
    return forward_kinematics(np.tile([0, 0.95, 0], (frames, 1)), local)


def test_a_dancer_who_stands_has_none() -> None:
    assert impossible_frames(standing(60)) == ImpossibleFrames(seconds=2.0)


def test_a_single_frame_has_none() -> None:
    assert impossible_frames(standing(1)).trunk_turns == 0


@pytest.mark.parametrize(("degrees", "counted"), [(40, 0), (50, 1), (180, 1)])
def test_a_turn_counts_from_45_degrees_in_a_frame(degrees: float, counted: int) -> None:
    yaw = np.where(np.arange(30) < 15, 0, np.radians(degrees))
    assert impossible_frames(standing(30, yaw)).trunk_turns == counted


def test_a_turn_is_measured_in_seconds() -> None:
    yaw = np.where(np.arange(30) < 15, 0, np.radians(40))
    assert impossible_frames(standing(30, yaw), fps=60).trunk_turns == 1


def test_a_joint_that_jumps_counts_in_every_frame() -> None:
    positions = standing(30)
    positions[10:, L_WRIST, 1] += 0.5
    positions[20:, L_WRIST, 1] -= 0.5
    assert impossible_frames(positions).fast_joints == 2


def test_a_folded_elbow_counts() -> None:
    positions = standing(30)
    upper = positions[:, L_SHOULDER] - positions[:, L_ELBOW]
    positions[5:8, L_WRIST] = (positions[:, L_ELBOW] + 0.9 * upper + [0, 0.05, 0])[5:8]
    assert impossible_frames(positions).folded_elbows == 3


def test_counts_add_up() -> None:
    assert ImpossibleFrames.over([ImpossibleFrames(1, 1, 2, 3), ImpossibleFrames(2, 0, 1, 1)]) == ImpossibleFrames(
        3, 1, 3, 4
    )
