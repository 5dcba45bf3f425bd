import numpy as np
import pytest
from dataset_files import coco_keypoints, dance, shape, t_pose

from choreo.data.layouts.coco17 import DIRECT, smpl_joints
from choreo.motion import rotations as rot
from choreo.motion.skeleton import JOINT_NAMES, L_ANKLE, L_FOOT, L_HIP, L_KNEE


def test_the_rest_pose_is_found_exactly() -> None:
    pose = t_pose()[None]
    np.testing.assert_allclose(smpl_joints(coco_keypoints(pose)), pose, atol=1e-3)


def test_limbs_are_the_keypoints_themselves() -> None:
    keypoints = coco_keypoints(dance())
    joints = smpl_joints(keypoints)
    for joint, keypoint in DIRECT:
        np.testing.assert_array_equal(joints[:, joint], keypoints[:, keypoint])
    assert {JOINT_NAMES[joint] for joint, _ in DIRECT} >= {"left_hip", "right_wrist", "left_ankle", "right_knee"}


def test_dancing_is_found_within_centimetres() -> None:
    positions = dance()
    error = np.linalg.norm(shape(smpl_joints(coco_keypoints(positions))) - shape(positions), axis=-1)
    assert error.mean() < 0.03
    assert error.max() < 0.15


@pytest.mark.parametrize("turn", [rot.yaw(2.0), rot.axis_angle(np.array([1.0, 0.0, 0.0]), 1.2)])
def test_joints_turn_and_scale_with_the_keypoints(turn: np.ndarray) -> None:
    keypoints = coco_keypoints(dance())
    np.testing.assert_allclose(smpl_joints(100 * keypoints @ turn.T), 100 * smpl_joints(keypoints) @ turn.T, atol=1e-6)


def test_a_foot_stays_at_a_right_angle_to_a_leg_that_is_kicked_forward() -> None:
    pose = t_pose()
    thigh, shank = pose[L_HIP] - pose[L_KNEE], pose[L_KNEE] - pose[L_ANKLE]
    pose[L_KNEE] = pose[L_HIP] + (0, 0, np.linalg.norm(thigh))
    pose[L_ANKLE] = pose[L_KNEE] + (0, 0, np.linalg.norm(shank))
    foot = (smpl_joints(coco_keypoints(pose[None]))[0, L_FOOT] - pose[L_ANKLE]) / 0.15
    assert foot[1] > 0.7  # toes up
