"""The cost of a transition between two frames: the distance of their poses and velocities.

As in motion graphs (Kovar et al. 2002; Lee et al. 2002), with a higher weight for the feet: a pose may ease into
another one while the dancer moves, but a foot in contact with the floor cannot.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion import rotations as rot
from choreo.motion.kinematics import heading
from choreo.motion.skeleton import FPS, NUM_JOINTS, PELVIS

Array = NDArray[np.float64]

VELOCITY_SECONDS: Final = 0.12
"""A difference of 1 m/s counts as much as one of so many metres."""
_FEET, _LEGS, _HANDS = (7, 8, 10, 11), (1, 2, 4, 5), (18, 19, 20, 21)


def _weights() -> Array:
    weights = np.ones(NUM_JOINTS)
    weights[list(_FEET)] = 4.0
    weights[list(_LEGS)] = 2.0
    weights[list(_HANDS)] = 0.6
    return np.sqrt(weights / weights.sum())


def pose_vectors(positions: NDArray[np.floating]) -> Array:
    """Vectors (T, 132) of positions (T, 22, 3) at 30 fps, whose Euclidean distance is a transition cost in metres.

    They are invariant to the dancer's place and heading, but not to heights over the floor.
    """
    p = np.asarray(positions, np.float64)
    turn = rot.yaw(-heading(p)).swapaxes(-1, -2)
    body = p - p[:, [PELVIS]] * (1, 0, 1)
    velocity = np.gradient(p, axis=0) * FPS * VELOCITY_SECONDS
    weights = _weights()[:, None]
    return np.concatenate([(x @ turn * weights).reshape(len(p), -1) for x in (body, velocity)], axis=1)


def distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distances (N, M) of pose vectors (N, 132) and (M, 132), metres."""
    square = (a**2).sum(-1)[:, None] + (b**2).sum(-1) - 2 * a @ b.T
    return np.sqrt(np.maximum(square, 0))
