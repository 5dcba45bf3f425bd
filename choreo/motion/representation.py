"""The 66-number frame of the networks: root velocity, root height and 21 root-relative joints.

Channels: 0 root velocity x, 1 root velocity z (m/s, v[t] = (p[t] - p[t-1]) fps), 2 root height (m), 3.. the 21 other
joints minus the root (m). All in the axes of the trajectory group, so the windows of one song share a frame.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from choreo.motion.rotations import yaw
from choreo.motion.skeleton import FPS, NUM_JOINTS, PELVIS

CHANNELS = 3 * NUM_JOINTS
ROOT_VELOCITY = slice(0, 2)
ROOT_HEIGHT = 2
JOINTS = slice(3, CHANNELS)
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Origin:
    """What `encode` takes out of a motion: the horizontal root position before frame 0, and the yaw of the axes."""

    x: float = 0.0
    z: float = 0.0
    heading: float = 0.0


def encode(
    positions: NDArray[np.floating],
    fps: float = FPS,
    heading: float = 0.0,
    previous: NDArray[np.floating] | None = None,
) -> tuple[Array, Origin]:
    """Positions (T, 22, 3) to features (T, 66) and the origin that makes it exactly invertible.

    Args:
        positions: joint positions, metres.
        fps: frame rate, for velocities.
        heading: yaw (radians) of the group's axes; the motion is turned by its negative.
        previous: root position (3,) of the frame before the first, so that a crop keeps its real v[0]; without it
            v[0] = 0.
    """
    p = np.asarray(positions, np.float64)
    before = p[0, PELVIS] if previous is None else np.asarray(previous, np.float64)
    turn = yaw(-heading).T
    root = p[:, PELVIS]
    velocity = np.diff(root, axis=0, prepend=before[None]) * fps
    relative = p[:, 1:] - root[:, None]
    features = np.concatenate(
        [(velocity @ turn)[:, [0, 2]], root[:, 1:2], (relative @ turn).reshape(len(p), -1)], axis=1
    )
    return features, Origin(float(before[0]), float(before[2]), heading)


def decode(features: NDArray[np.floating], fps: float = FPS, origin: Origin | None = None) -> Array:
    """Inverse of `encode`: features (T, 66) to positions (T, 22, 3)."""
    origin = origin or Origin()
    f = np.asarray(features, np.float64)
    turn = yaw(origin.heading).T
    travel = np.zeros((len(f), 3))
    travel[:, [0, 2]] = np.cumsum(f[:, ROOT_VELOCITY], axis=0) / fps
    root = travel @ turn + (origin.x, 0.0, origin.z)
    root[:, 1] = f[:, ROOT_HEIGHT]
    relative = f[:, JOINTS].reshape(len(f), NUM_JOINTS - 1, 3) @ turn
    return np.concatenate([root[:, None], root[:, None] + relative], axis=1)


def rotate(features: NDArray[np.floating], angle: float) -> Array:
    """Turn features (..., 66) about y by `angle`: the yaw augmentation of training windows."""
    f = np.array(features, np.float64)
    turn = yaw(angle).T
    flat = np.zeros((*f.shape[:-1], 3))
    flat[..., [0, 2]] = f[..., ROOT_VELOCITY]
    f[..., ROOT_VELOCITY] = (flat @ turn)[..., [0, 2]]
    joints = f[..., JOINTS].reshape(*f.shape[:-1], NUM_JOINTS - 1, 3)
    f[..., JOINTS] = (joints @ turn).reshape(*f.shape[:-1], -1)
    return f
