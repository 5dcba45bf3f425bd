"""Motion as an archive of SMPL poses with the members of AMASS (Mahmood et al. 2019).

Members of both releases: `poses` (T, 156) rotation vectors of 22 body joints and 30 hand joints, the latter zero;
`root_orient` (T, 3) and `pose_body` (T, 63), the first of them again; `trans` (T, 3) metres; `betas` (16,), zero;
`gender` neutral; `mocap_framerate` and `mocap_frame_rate`. z is up. `meta`, a JSON string, is this project's.

`trans` is the position of the pelvis. A body model adds its own pelvis offset, and has bones of other lengths, so its
joints differ by that; rotations are the same.

Archives of N > 1 dancers also hold their names in `dancers` (N,), and poses and translations have a leading axis of
length N. Programs for AMASS know one dancer an archive and do not read these.
"""

import io
import json

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from choreo.motion.clip import Motion
from choreo.motion.formats.json_format import json_safe
from choreo.motion.performance import Performance
from choreo.motion.rigid_pose import rigid_pose
from choreo.motion.skeleton import NUM_JOINTS, PELVIS

POSE_VALUES = 156
"""Values of a pose of SMPL-H: three for each of 52 joints."""
NUM_BETAS = 16
Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""Turns axes with y up into those with z up."""


def amass_bytes(dance: Motion | Performance) -> bytes:
    """The archive, uncompressed. Motion without rotations is fitted first. Equal motion, equal bytes."""
    performance = Performance.of(dance)
    several = len(performance.dancers) > 1
    dancers = [_poses(dancer) for dancer in performance.dancers]
    poses, trans = (np.stack(values) for values in zip(*dancers, strict=True))
    poses, trans = (poses, trans) if several else (poses[0], trans[0])
    buffer = io.BytesIO()
    np.savez(
        buffer,
        poses=poses,
        root_orient=poses[..., :3],
        pose_body=poses[..., 3 : 3 * NUM_JOINTS],
        trans=trans,
        betas=np.zeros(NUM_BETAS),
        gender=np.array("neutral"),
        mocap_framerate=np.float64(performance.fps),
        mocap_frame_rate=np.float64(performance.fps),
        meta=np.array(json.dumps(json_safe(performance.meta), allow_nan=False)),
        **({"dancers": np.array(performance.names)} if several else {}),
    )
    return buffer.getvalue()


def _poses(dancer: Motion) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rotation vectors (T, 156) and translations (T, 3) with z up."""
    root, local = rigid_pose(dancer)
    local = local.copy()
    local[:, PELVIS] = Z_UP @ local[:, PELVIS]
    vectors = Rotation.from_matrix(local.reshape(-1, 3, 3)).as_rotvec().reshape(len(root), -1)
    poses = np.zeros((len(root), POSE_VALUES), np.float32)
    poses[:, : 3 * NUM_JOINTS] = vectors
    return poses, (root @ Z_UP.T).astype(np.float32)
