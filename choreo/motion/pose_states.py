"""Poses as the place of the root and one rotation a joint, 135 numbers: bones keep their lengths whatever these are.

A state is the root's position (3, metres) and the first two columns of every joint's local rotation (22 x 6), that of
the pelvis in the world's axes.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion.kinematics import fit, forward_kinematics, heading
from choreo.motion.rotations import from_six, to_six, yaw
from choreo.motion.skeleton import NUM_JOINTS, PELVIS

Array = NDArray[np.float64]

ROOT: Final = slice(0, 3)
TURN: Final = slice(3, 9)
"""Rotation of the pelvis in the world."""
STATE: Final = 3 + 6 * NUM_JOINTS


def states_of(positions: NDArray[np.floating]) -> Array:
    """States (T, 135) of positions (T, 22, 3); exact where they are rigid."""
    fitted = fit(positions)
    return np.concatenate([fitted.root, to_six(fitted.local).reshape(len(fitted.root), -1)], axis=1)


def positions_of(states: NDArray[np.floating]) -> Array:
    """Positions (..., 22, 3) of states (..., 135) by forward kinematics."""
    states = np.asarray(states, np.float64)
    return forward_kinematics(states[..., ROOT], from_six(states[..., 3:].reshape(*states.shape[:-1], NUM_JOINTS, 6)))


def rigid(states: NDArray[np.floating]) -> Array:
    """States (..., 135) whose rotations are rotations: the columns orthonormal."""
    states = np.asarray(states, np.float64)
    six = to_six(from_six(states[..., 3:].reshape(*states.shape[:-1], NUM_JOINTS, 6)))
    return np.concatenate([states[..., ROOT], six.reshape(*states.shape[:-1], -1)], axis=-1)


@dataclass(frozen=True)
class Ground:
    """A place on the floor and the direction that someone faces there.

    Attributes:
        x, z: metres.
        heading: yaw, radians; 0 faces +z.
    """

    x: float
    z: float
    heading: float

    @classmethod
    def below(cls, pose: NDArray[np.floating], turn: float = 0.0) -> "Ground":
        """That of a dancer in a pose (22, 3), turned by an angle."""
        x, _, z = (float(v) for v in pose[PELVIS])
        return cls(x, z, float(heading(np.asarray(pose)[None])[0]) + turn)

    @property
    def place(self) -> Array:
        """(3,) with y = 0."""
        return np.array([self.x, 0.0, self.z])

    def seen(self, points: NDArray[np.floating]) -> Array:
        """Points (..., 3) of the world in the axes of this place."""
        return (np.asarray(points, np.float64) - self.place) @ yaw(-self.heading).T

    def seen_states(self, states: NDArray[np.floating]) -> Array:
        """States (..., 135) of the world in the axes of this place."""
        out = np.array(states, np.float64)
        out[..., ROOT] = self.seen(out[..., ROOT])
        out[..., TURN] = _turned(out[..., TURN], yaw(-self.heading))
        return out

    def world_states(self, states: NDArray[np.floating]) -> Array:
        """The inverse of `seen_states`."""
        out = np.array(states, np.float64)
        out[..., ROOT] = out[..., ROOT] @ yaw(self.heading).T + self.place
        out[..., TURN] = _turned(out[..., TURN], yaw(self.heading))
        return out


def _turned(six: Array, rotation: Array) -> Array:
    columns = six.reshape(*six.shape[:-1], 2, 3)
    return (columns @ rotation.T).reshape(six.shape)
