import numpy as np
import pytest
from dataset_files import dance, t_pose

from choreo.motion import rotations as rot
from choreo.motion.calibration import calibration_frames
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.recorded import recorded
from choreo.motion.resample import resample
from choreo.motion.skeleton import JOINT_NAMES


def pose(lowered: float = 0.0, turned: float = 0.0) -> np.ndarray:
    """A pose (22, 3) with straight arms, some degrees below the horizontal, facing any way."""
    local = np.broadcast_to(np.eye(3), (22, 3, 3)).copy()
    for side, sign in (("left", -1), ("right", 1)):
        angle = np.radians(sign * lowered)
        local[JOINT_NAMES.index(f"{side}_shoulder")] = rot.axis_angle(np.array([0.0, 0.0, 1.0]), angle)
    local[0] = rot.yaw(np.radians(turned))
    return forward_kinematics(np.array([0.3, 0.95, -1.0]), local)


def held(frames: int, shaking: float = 0.0, **kwargs: float) -> np.ndarray:
    still = np.repeat(pose(**kwargs)[None], frames, axis=0)
    return still + shaking * np.sin(np.arange(frames) / 5)[:, None, None]


@pytest.mark.parametrize("lowered", [0, 30, 45, 55])
@pytest.mark.parametrize("frames", [1, 2, 40])
@pytest.mark.parametrize("fps", [30, 60, 120])
def test_a_t_or_a_pose_before_the_dance_is_found(lowered: float, frames: int, fps: int) -> None:
    motion = resample(dance(1), 30, fps)
    apart = np.linalg.norm((pose(lowered) - pose(lowered)[0]) - (motion[0] - motion[0, 0]), axis=-1).max()
    assert apart > 0.2  # else it is no jump
    found = calibration_frames(np.concatenate([held(frames, lowered=lowered, turned=40), motion]), fps)
    assert found == frames


def test_a_pose_that_an_actor_holds_and_leaves_slowly_is_found() -> None:
    arms = [pose(lowered) for lowered in np.linspace(0, 85, 60)]
    motion = np.concatenate([held(50, shaking=0.002), np.stack(arms), dance()])
    assert calibration_frames(motion, 30) == pytest.approx(50, abs=3)


def test_the_converters_pose_and_the_actors_own_are_both_found() -> None:
    motion = np.concatenate([held(1, lowered=0), held(60, lowered=50), dance(1)])
    assert calibration_frames(motion, 30) == 61


def test_a_dance_keeps_its_frames() -> None:
    for seed in range(6):
        assert calibration_frames(dance(seed), 30) == 0


def test_arms_that_pass_through_a_t_are_dancing() -> None:
    sweep = np.stack([pose(lowered) for lowered in np.linspace(-15, 80, 30)])
    assert calibration_frames(np.concatenate([sweep, sweep[::-1]]), 30) == 0


def test_other_poses_are_not_taken_for_calibration() -> None:
    hanging = held(60, lowered=80)
    one_arm = pose()
    one_arm[[18, 20]] = one_arm[16] - [[0, 0.27, 0], [0, 0.52, 0]]
    lying = held(60) @ rot.axis_angle(np.array([1.0, 0.0, 0.0]), np.pi / 2).T
    for start in (hanging, np.repeat(one_arm[None], 60, axis=0), lying, dance(3)[40:41] + 1):
        assert calibration_frames(np.concatenate([start, dance()]), 30) == 0


def test_a_t_pose_that_a_body_could_have_left_is_not_dropped_alone() -> None:
    assert calibration_frames(np.concatenate([t_pose()[None], dance()]), 1) == 0


def test_a_recording_that_is_nothing_else_keeps_it() -> None:
    assert calibration_frames(held(90), 30) == 0
    assert calibration_frames(held(1), 30) == 0


def test_what_is_dropped_is_said_if_anybody_could_hear_it() -> None:
    frame = recorded(np.concatenate([held(1), dance(1)]), 120)
    assert (len(frame.positions), frame.notes) == (len(dance(1)), ())
    second = recorded(np.concatenate([held(30), dance(1)]), 30)
    assert second.dropped == 1.0
    assert "1.00 s of a calibration pose" in second.notes[0]
    np.testing.assert_array_equal(second.positions, dance(1))
