"""Frames that no body dances: trunks that turn round at once, joints that teleport, elbows folded too far."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion import rotations as rot
from choreo.motion.clip import check_positions
from choreo.motion.kinematics import BODIES, fit
from choreo.motion.skeleton import FPS, L_ELBOW, L_SHOULDER, L_WRIST, R_ELBOW, R_SHOULDER, R_WRIST

TRUNK_TURN: Final = np.radians(45.0) * FPS
"""Radians per second: 45 degrees a frame at 30 fps. In dance mocap, pelvis and chest turn by up to 25 or so."""
JOINT_SPEED: Final = 12.0
"""Metres per second."""
ELBOW_ANGLE: Final = np.radians(25.0)
"""Radians between forearm and upper arm."""


@dataclass(frozen=True)
class ImpossibleFrames:
    """Counts over motions, which add up.

    Attributes:
        seconds: length of the motions.
        trunk_turns: frames in which pelvis or chest turns faster than `TRUNK_TURN`.
        fast_joints: frames, of each joint, in which it is faster than `JOINT_SPEED`.
        folded_elbows: frames, of each elbow, in which it is folded farther than `ELBOW_ANGLE`.
    """

    seconds: float = 0.0
    trunk_turns: int = 0
    fast_joints: int = 0
    folded_elbows: int = 0

    def __add__(self, other: "ImpossibleFrames") -> "ImpossibleFrames":
        return ImpossibleFrames(
            self.seconds + other.seconds,
            self.trunk_turns + other.trunk_turns,
            self.fast_joints + other.fast_joints,
            self.folded_elbows + other.folded_elbows,
        )

    @classmethod
    def over(cls, motions: Iterable["ImpossibleFrames"]) -> "ImpossibleFrames":
        """The sum."""
        return sum(motions, cls())


def impossible_frames(positions: NDArray[np.floating], fps: float = FPS) -> ImpossibleFrames:
    """The counts of one motion; rotations of pelvis and chest are fitted to its positions frame by frame.

    Args:
        positions: (T, 22, 3) metres.
        fps: frames per second.
    Raises:
        InvalidInput: wrong shape or not finite.
    """
    check_positions(positions, "positions")
    p = np.asarray(positions, np.float64)
    bodies = fit(p).world[:, list(BODIES)]
    step = np.swapaxes(bodies[:-1], -1, -2) @ bodies[1:]
    turn = np.linalg.norm(rot.rotation_vector(step), axis=-1).max(axis=1, initial=0) * fps
    speed = np.linalg.norm(np.diff(p, axis=0), axis=-1) * fps
    upper = p[:, [L_SHOULDER, R_SHOULDER]] - p[:, [L_ELBOW, R_ELBOW]]
    lower = p[:, [L_WRIST, R_WRIST]] - p[:, [L_ELBOW, R_ELBOW]]
    angle = np.arctan2(np.linalg.norm(rot.cross(upper, lower), axis=-1), rot.dot(upper, lower))
    return ImpossibleFrames(
        len(p) / fps,
        int((turn > TRUNK_TURN).sum()),
        int((speed > JOINT_SPEED).sum()),
        int((angle < ELBOW_ANGLE).sum()),
    )
