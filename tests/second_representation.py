"""A second representation, such as a generator might bring: positions and velocities of all joints."""

from typing import Any

import numpy as np

from choreo.motion.representation import Origin, Representation
from choreo.motion.rotations import yaw
from choreo.motion.skeleton import MIRROR, NUM_JOINTS

HALF = 3 * NUM_JOINTS


class PositionsAndVelocities(Representation):
    """132 numbers: positions (22, 3) in metres, the root starting at x = z = 0, and velocities (22, 3) in m/s."""

    @property
    def unknown_in_a_lone_pose(self) -> slice:
        return slice(HALF, 2 * HALF)

    def encode(self, positions: Any, fps: Any = None, heading: float = 0.0, previous: Any = None) -> Any:
        p = np.asarray(positions, np.float64)
        origin = Origin(float(p[0, 0, 0]), float(p[0, 0, 2]), heading)
        p = (p - (origin.x, 0.0, origin.z)) @ yaw(-heading).T
        velocity = np.diff(p, axis=0, prepend=p[:1]) * (fps or self.fps)
        return np.concatenate([p.reshape(len(p), -1), velocity.reshape(len(p), -1)], axis=1), origin

    def decode(self, features: Any, fps: Any = None, origin: Origin | None = None) -> Any:
        origin = origin or Origin()
        p = _vectors(np.asarray(features, np.float64))[:, 0]
        return p @ yaw(origin.heading).T + (origin.x, 0.0, origin.z)

    def rotate(self, features: Any, angle: float) -> Any:
        f = np.asarray(features, np.float64)
        return (_vectors(f) @ yaw(angle).T).reshape(f.shape)

    def mirror(self, features: Any) -> Any:
        out = _vectors(features)[..., list(MIRROR), :]
        out[..., 0] *= -1
        return out.reshape(features.shape)

    def joints_of(self, features: Any) -> Any:
        p = _vectors(features)[..., 0, :, :]
        return p[..., 1:, :] - p[..., :1, :]

    def root_height_of(self, features: Any) -> Any:
        return features[..., 1]

    def root_velocity_of(self, features: Any) -> Any:
        return features[..., self.root_velocity]


def _vectors(features: Any) -> Any:
    """(..., 2, 22, 3): positions and velocities."""
    return features.reshape(*features.shape[:-1], 2, NUM_JOINTS, 3)


POSITIONS_AND_VELOCITIES = PositionsAndVelocities(
    name="positions-and-velocities-132",
    channels=2 * HALF,
    root_velocity=slice(HALF, HALF + 3, 2),
    root_height=slice(1, 2),
    joints=slice(3, HALF),
    horizontal=tuple((x, x + 2) for x in range(0, 2 * HALF, 3)),
)
