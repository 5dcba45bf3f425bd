from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_files import Z_UP, dance, shape, smpl_parameters
from scipy.spatial.transform import Rotation

from choreo.data.datasets import open_dataset
from choreo.errors import InvalidInput
from choreo.motion.formats.smpl_npz import RATE, read_smpl
from choreo.motion.representation import decode

POSES, TRANS = smpl_parameters(dance(), 165, Z_UP)
T = len(POSES)


def matrices(vectors: np.ndarray) -> np.ndarray:
    return Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(len(vectors), -1, 3, 3)


BODY = POSES[:, 3:66]
SPELLINGS: dict[str, dict[str, Any]] = {
    "SMPL": {"poses": POSES[:, :72]},
    "SMPL-H": {"poses": POSES[:, :156]},
    "SMPL-X": {"poses": POSES},
    "a row per joint": {"poses": POSES[:, :156].reshape(T, -1, 3)},
    "fullpose": {"fullpose": POSES},
    "parts": {"root_orient": POSES[:, :3], "pose_body": BODY},
    "parts and hands": {"root_orient": POSES[:, :3], "pose_body": BODY, "pose_hand": POSES[:, 66:156]},
    "parts by joint": {"root_orient": POSES[:, None, :3], "pose_body": BODY.reshape(T, 21, 3)},
    "fits": {"global_orient": POSES[:, :3], "body_pose": BODY},
    "fits of SMPL": {"global_orient": POSES[:, :3], "body_pose": POSES[:, 3:72]},
    "matrices": {"global_orient": matrices(POSES[:, :3]), "body_pose": matrices(BODY)},
    "one matrix for the root": {"global_orient": matrices(POSES[:, :3])[:, 0], "body_pose": matrices(BODY)},
    "flat matrices": {
        "global_orient": matrices(POSES[:, :3]).reshape(T, 9),
        "body_pose": matrices(BODY).reshape(T, -1),
    },
    "whole matrices": {"poses": matrices(POSES[:, :72])},
    "whole flat matrices": {"poses": matrices(POSES[:, :72]).reshape(T, -1)},
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_poses_is_the_same_motion(tmp_path: Path, spelling: str) -> None:
    np.savez(tmp_path / "a_poses.npz", **SPELLINGS[spelling], trans=TRANS, mocap_frame_rate=30.0)
    dataset = open_dataset(tmp_path)
    assert dataset.name == "amass"
    (clip,) = dataset
    error = np.linalg.norm(shape(decode(clip.features)) - shape(dance())[: clip.num_frames], axis=-1)
    assert error.mean() < 0.01
    assert not dataset.skipped
    assert not dataset.notes


@pytest.mark.parametrize("rate", RATE)
@pytest.mark.parametrize("trans", ["trans", "transl", "translation"])
def test_every_spelling_of_rate_and_translation(tmp_path: Path, rate: str, trans: str) -> None:
    np.savez(tmp_path / "a.npz", poses=POSES, **{trans: TRANS, rate: np.array([30.0])})
    motion = read_smpl(tmp_path / "a.npz")
    assert motion.fps == 30
    (clip,) = open_dataset(tmp_path)
    error = np.linalg.norm(shape(decode(clip.features)) - shape(dance())[: clip.num_frames], axis=-1)
    assert error.mean() < 0.01  # upright, whichever axis its authors have up


def test_y_up_fits_stay_as_they_are(tmp_path: Path) -> None:
    poses, trans = smpl_parameters(dance(), 66)
    np.savez(tmp_path / "a.npz", global_orient=poses[:, :3], body_pose=poses[:, 3:], transl=trans, fps=30)
    dataset = open_dataset(tmp_path)
    (clip,) = dataset
    error = np.linalg.norm(shape(decode(clip.features)) - shape(dance())[: clip.num_frames], axis=-1)
    assert error.mean() < 0.01
    assert not dataset.notes


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mocap_frame_rate": None}, "does not say its frame rate"),
        ({"mocap_frame_rate": np.array([30.0, 60.0])}, "frames per second"),
        ({"trans": None}, "has no translations"),
        ({"poses": None}, "has no poses"),
        ({"poses": None, "root_orient": POSES[:, :3]}, "has no poses"),
        ({"poses": None, "root_orient": POSES[:, :3], "pose_body": BODY[:, :30]}, "at least 21 joints"),
        ({"poses": None, "root_orient": POSES[:5, :3], "pose_body": BODY}, "as many frames"),
        ({"poses": POSES[:, :64]}, "has the shape"),
        ({"poses": np.zeros((T, 22, 3, 3))}, "not rotations"),
        ({"poses": 2 * matrices(POSES)}, "not rotations"),
        ({"poses": np.full((T, 22, 3, 3), np.nan)}, "not rotations"),
        ({"poses": np.zeros((T, 24, 6))}, "has the shape"),
        ({"poses": np.array(1.0)}, "between 1 and"),
        ({"poses": POSES[:9]}, "translations"),
    ],
)
def test_what_is_missing_or_unusable_is_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    members = {"poses": POSES, "trans": TRANS, "mocap_frame_rate": 30.0} | change
    np.savez(tmp_path / "a.npz", **{name: value for name, value in members.items() if value is not None})
    with pytest.raises(InvalidInput) as error:
        read_smpl(tmp_path / "a.npz", "take")
    assert error.value.field.startswith("take")
    assert says in error.value.message
