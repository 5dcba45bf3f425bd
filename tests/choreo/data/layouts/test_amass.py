from pathlib import Path

import numpy as np
import pytest
from dataset_files import Z_UP, amass_members, dance, shape, smpl_parameters, t_pose, write_amass
from scipy.spatial.transform import Rotation

from choreo.data.datasets import open_dataset
from choreo.motion import rotations as rot
from choreo.motion.formats.smpl_poses import smpl_positions
from choreo.motion.kinematics import heading
from choreo.motion.representation import decode
from choreo.motion.skeleton import HEAD, L_ANKLE, PELVIS
from choreo.motion.upright import Upright


def test_poses_with_z_up_become_the_motion_they_are_of(tmp_path: Path) -> None:
    write_amass(tmp_path)
    (clip,) = open_dataset(tmp_path)
    assert clip.key == clip.group == "ACCAD/Female1/A1 - Stand_poses"
    assert clip.family == "ACCAD/Female1"
    out = decode(clip.features)
    error = np.linalg.norm(shape(out) - shape(dance()[: len(out)]), axis=-1)
    assert error.mean() < 0.01
    travel = (out - out[:1])[:, PELVIS] - (dance() - dance()[:1])[: len(out), PELVIS]
    assert np.abs(travel).mean() < 0.03


def test_up_and_the_left_hand_of_a_known_pose() -> None:
    """A T pose with the left arm straight up, facing the positive x axis of a world whose z is up."""
    poses = np.zeros((1, 156))
    facing_x = Z_UP @ rot.yaw(np.pi / 2)
    poses[0, :3] = Rotation.from_matrix(facing_x).as_rotvec()
    poses[0, 3 * 16 : 3 * 17] = (0, 0, np.pi / 2)  # left shoulder, about the forward axis
    p = Upright("z").turned(smpl_positions(poses, np.array([[1.0, 2.0, 0.9]]), "x"))
    np.testing.assert_allclose(p[0, PELVIS], (1.0, 0.9, -2.0))
    np.testing.assert_allclose((p[0, HEAD] - p[0, PELVIS])[1], (t_pose()[HEAD] - t_pose()[PELVIS])[1], atol=1e-9)
    assert heading(p)[0] == pytest.approx(np.pi / 2)  # towards x, which is still x
    wrist, shoulder = p[0, 20], p[0, 16]
    np.testing.assert_allclose(wrist - shoulder, (0, 0.52, 0), atol=1e-6)
    assert p[0, 18, 2] < p[0, 19, 2]  # left of someone who faces +x is -z
    assert p[0, L_ANKLE, 1] < p[0, PELVIS, 1] - 0.8


def test_shape_files_are_not_motion_and_the_other_release_is_read(tmp_path: Path) -> None:
    write_amass(tmp_path)
    np.savez(tmp_path / "ACCAD" / "Female1" / "shape.npz", betas=np.zeros(16))
    poses, trans = smpl_parameters(dance(), 165, Z_UP)
    np.savez(tmp_path / "x_stageii.npz", poses=poses, trans=trans, mocap_frame_rate=30.0)
    dataset = open_dataset(tmp_path)
    assert [clip.num_frames for clip in dataset] == [len(dance())] * 2
    assert not dataset.skipped


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"poses": np.zeros((60, 72))}, "shape"),
        ({"trans": np.zeros((7, 3))}, "7, 3"),
        ({"trans": np.full((60, 3), np.inf), "poses": np.zeros((60, 156))}, "NaN"),
        ({"poses": np.full((60, 156), 1e6), "trans": np.zeros((60, 3))}, "rotation vectors"),
        ({"mocap_framerate": np.array(0.0)}, "frames per second"),
        ({"mocap_framerate": np.array("fast")}, "unusable type"),
        ({"poses": np.array([None] * 3, object)}, "poses"),
    ],
)
def test_bad_archives_are_named_with_the_reason(tmp_path: Path, change: dict, reason: str) -> None:
    write_amass(tmp_path)
    np.savez(tmp_path / "bad.npz", **(amass_members(dance()) | change))
    (tmp_path / "not_zip.npz").write_bytes(b"no")
    dataset = open_dataset(tmp_path)
    assert len(list(dataset)) == 1
    assert [s.name for s in dataset.skipped] == ["bad", "not_zip"]
    assert reason in dataset.skipped[0].reason
