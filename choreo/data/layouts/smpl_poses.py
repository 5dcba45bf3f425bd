"""Joint positions from pose parameters of the SMPL family, without a body model.

Rotations are taken from the file and bones from the canonical skeleton (`choreo.motion.skeleton.REST_OFFSETS`), whose
rest pose is a T pose with the axes of SMPL's template: y up, facing +z, left towards +x. SMPL's template bends its
spine and lowers its arms by a few degrees, so limbs differ from the model's by as much; the actor's shape (betas,
gender) has no effect. The constant offset of the model's pelvis from `trans` is absorbed by the floor and the starting
point.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from choreo.errors import InvalidInput
from choreo.motion.clip import MAX_FRAMES
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.skeleton import NUM_JOINTS

Array = NDArray[np.float64]

MAX_ANGLE = 100.0
"""Longest plausible rotation vector, radians; fits accumulate a few turns."""


def smpl_positions(poses: NDArray[np.floating], trans: NDArray[np.floating], field: str) -> Array:
    """Axis-angle poses (T, 3 J), J >= 22 in SMPL's order, and root translations (T, 3) to positions (T, 22, 3).

    The first 22 joints are those of SMPL, SMPL-H and SMPL-X alike; hands and face are left out. Axes are the input's.

    Raises:
        InvalidInput: wrong shapes or lengths, NaN, infinity or implausible angles.
    """
    poses, trans = np.asarray(poses, np.float64), np.asarray(trans, np.float64)
    if poses.ndim != 2 or poses.shape[1] < 3 * NUM_JOINTS or poses.shape[1] % 3:
        raise InvalidInput(field, f"has poses of shape {poses.shape}, not (T, 3 J) with at least {NUM_JOINTS} joints")
    if trans.shape != (len(poses), 3):
        raise InvalidInput(field, f"has translations of shape {trans.shape} for {len(poses)} poses")
    if not 1 <= len(poses) <= MAX_FRAMES:
        raise InvalidInput(field, f"must have between 1 and {MAX_FRAMES} frames, got {len(poses)}")
    vectors = poses[:, : 3 * NUM_JOINTS]
    if not (np.isfinite(vectors).all() and np.isfinite(trans).all()):
        raise InvalidInput(field, "holds NaN or infinite poses")
    if np.abs(vectors).max() > MAX_ANGLE:
        raise InvalidInput(field, "holds poses that are not rotation vectors in radians")
    local = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(len(poses), NUM_JOINTS, 3, 3)
    return forward_kinematics(trans, local)


def z_up_to_y_up(positions: NDArray[np.floating]) -> Array:
    """Rotate (..., 3) by -90 degrees about x: (x, y, z) becomes (x, z, -y)."""
    p = np.asarray(positions, np.float64)
    return np.stack([p[..., 0], p[..., 2], -p[..., 1]], axis=-1)
