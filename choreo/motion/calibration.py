"""Calibration poses at the start of a recording: T and A poses that are no part of what was performed.

Converters put one before the first frame, and capture sessions begin with one. Such a pose has straight legs and
straight arms, alike on both sides, level or lowered to an A; it is held, or left faster than a body can move.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion import rotations as rot
from choreo.motion.skeleton import JOINT_NAMES, NECK, PELVIS

Array = NDArray[np.float64]

MAX_JOINT_SPEED: Final = 10.0
"""A joint that leaves a pose faster than this, m/s relative to the pelvis, was not recorded doing so."""
SLOW_JUMP: Final = 2.0
"""The same at low frame rates, m/s, if it is `SUDDEN` times as fast as any joint in the half second that follows."""
SUDDEN: Final = 3.0
HELD_SPEED: Final = 0.3
"""Fastest joint of a pose that is held, m/s."""
HELD_SECONDS: Final = 0.3
"""Shortest time for which a calibration pose is held if it is left at a human speed."""
STRAIGHT: Final = 0.95
"""Least distance between the ends of a straight limb, as a share of the length along it."""
_LEVEL: Final = 20.0
"""Most degrees by which the arms of a T pose rise above the horizontal."""
_LOWEST: Final = 65.0
"""Most degrees by which those of an A pose are lowered: arms that hang are no calibration."""
_ALIKE: Final = 12.0
"""Most degrees between the angles of the two arms."""
_UPRIGHT: Final = 0.85
"""Least cosine of the trunk with the vertical, and of the legs with the trunk: CMU's stand apart."""
_IN_PLANE: Final = 0.35
"""Largest share of an arm's direction that points forward or back."""


def _joints(*parts: str) -> list[list[int]]:
    return [[JOINT_NAMES.index(f"{side}_{part}") for part in parts] for side in ("left", "right")]


_ARMS, _LEGS = _joints("shoulder", "elbow", "wrist"), _joints("hip", "knee", "ankle")


def calibration_frames(positions: NDArray[np.floating], fps: float) -> int:
    """How many frames at the start of positions (T, 22, 3), metres and y up, are calibration poses; 0 for none.

    A recording that is nothing else keeps its frames.
    """
    p = np.asarray(positions, np.float64)
    posed = _is_calibration(p)
    if posed.all():
        return 0
    around = p - p[:, [PELVIS]]
    speed = np.linalg.norm(np.diff(around, axis=0), axis=-1).max(axis=1) * fps
    first = 0
    while found := _first_pose(posed[first:], speed[first:], fps):  # the converter's may stand before the actor's own
        first += found
    return first


def _first_pose(posed: NDArray[np.bool_], speed: Array, fps: float) -> int:
    """Frames of the pose that frames (n,) begin with; `speed` (n - 1,) is that of the fastest joint after each."""
    if not posed[0] or posed.all():
        return 0
    length = int(posed.argmin())
    jumps = speed[:length] > MAX_JOINT_SPEED
    if jumps.any():
        return int(jumps.argmax()) + 1
    after = speed[length : length + max(round(fps / 2), 1)]
    if len(after) and speed[length - 1] > max(SLOW_JUMP, SUDDEN * float(after.max())):
        return length
    moving = speed[:length] > HELD_SPEED
    held = int(moving.argmax()) if moving.any() else length
    return held if held >= max(HELD_SECONDS * fps, 2) else 0


def _is_calibration(p: Array) -> NDArray[np.bool_]:
    """Which frames (T,) show a T or an A pose."""
    up = rot.normalize(p[:, NECK] - p[:, PELVIS])
    across = rot.normalize(p[:, _ARMS[0][0]] - p[:, _ARMS[1][0]])
    forward = np.cross(across, up)
    good = up[:, 1] > _UPRIGHT
    angles = []
    for arm, leg, outward in zip(_ARMS, _LEGS, (across, -across), strict=True):
        good &= _straight(p, arm) & _straight(p, leg)
        direction = rot.normalize(p[:, arm[-1]] - p[:, arm[0]])
        good &= (direction * outward).sum(axis=1) > 0
        good &= np.abs((direction * forward).sum(axis=1)) < _IN_PLANE
        good &= (rot.normalize(p[:, leg[0]] - p[:, leg[-1]]) * up).sum(axis=1) > _UPRIGHT
        angles.append(np.degrees(np.arcsin(np.clip(-direction[:, 1], -1, 1))))
    lowered = np.stack(angles)
    alike = np.abs(lowered[0] - lowered[1]) <= _ALIKE
    return good & alike & (lowered > -_LEVEL).all(axis=0) & (lowered < _LOWEST).all(axis=0)


def _straight(p: Array, limb: list[int]) -> NDArray[np.bool_]:
    along = np.linalg.norm(np.diff(p[:, limb], axis=1), axis=-1).sum(axis=1)
    return np.linalg.norm(p[:, limb[-1]] - p[:, limb[0]], axis=-1) >= STRAIGHT * along
