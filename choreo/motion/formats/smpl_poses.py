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
ORTHOGONAL = 1e-2
"""Largest entry of R^T R - I of a rotation matrix."""


def smpl_positions(poses: NDArray[np.floating], trans: NDArray[np.floating], field: str) -> Array:
    """Positions (T, 22, 3) of poses and translations, with the checks of `smpl_rotations`."""
    return forward_kinematics(trans, smpl_rotations(poses, trans, field))


def smpl_rotations(poses: NDArray[np.floating], trans: NDArray[np.floating], field: str) -> Array:
    """Local rotations (T, 22, 3, 3) of axis-angle poses (T, 3 J), J >= 22 in SMPL's order, with translations (T, 3).

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
    return Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(len(poses), NUM_JOINTS, 3, 3)


def rotation_vectors(values: NDArray[np.floating], joints: int | None, field: str) -> Array:
    """Rotations of any of the shapes that releases have, as rotation vectors (T, 3 J).

    Args:
        values: rotation vectors (T, 3 J) or (T, J, 3), or rotation matrices (T, 9 J), (T, J, 9), (T, J, 3, 3), or
            (T, 3, 3) of one joint.
        joints: J if it is known.
        field: name of the values in errors.

    Raises:
        InvalidInput: another shape, or matrices that are not rotations.
    """
    v = np.asarray(values, np.float64)
    frames = len(v) if v.ndim else 0
    if not 1 <= frames <= MAX_FRAMES:
        raise InvalidInput(field, f"must have between 1 and {MAX_FRAMES} frames, got {frames}")
    count = int(np.prod(v.shape[1:]))
    one_matrix = v.ndim == 3 and joints == 1 and v.shape[1:] == (3, 3)
    if one_matrix or (v.ndim == 4 and v.shape[2:] == (3, 3)) or (v.ndim == 3 and v.shape[2] == 9):
        return _vectors_of(v.reshape(frames, -1, 3, 3), field)
    if v.ndim == 2 and count % 9 == 0 and (_are_rotations(v.reshape(frames, -1, 3, 3)) or count == 9 * (joints or 0)):
        return _vectors_of(v.reshape(frames, -1, 3, 3), field)
    if (v.ndim == 3 and v.shape[2] == 3) or (v.ndim == 2 and count % 3 == 0 and count):
        return v.reshape(frames, -1)
    raise InvalidInput(
        field, f"has the shape {v.shape}; rotation vectors are (T, 3 J) or (T, J, 3), matrices (T, J, 3, 3)"
    )


def _vectors_of(matrices: Array, field: str) -> Array:
    if not _are_rotations(matrices):
        raise InvalidInput(field, "holds matrices that are not rotations")
    return np.asarray(Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_rotvec(), np.float64).reshape(
        len(matrices), -1
    )


def _are_rotations(matrices: Array) -> bool:
    """Whether (T, J, 3, 3) are orthogonal and right-handed."""
    if not np.isfinite(matrices).all() or np.abs(matrices).max() > 2:
        return False
    deviation = np.abs(np.swapaxes(matrices, -1, -2) @ matrices - np.eye(3)).max()
    return bool(deviation <= ORTHOGONAL and np.linalg.det(matrices).min() > 0)
