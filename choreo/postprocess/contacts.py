"""Detection of foot contacts: ankles and toes on the floor, by height and horizontal speed with hysteresis."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion import rotations as rot
from choreo.motion.skeleton import ANKLE_HEIGHT, CONTACT_JOINTS, FPS, TOE_HEIGHT
from choreo.postprocess.savitzky_golay import savitzky_golay

Bools = NDArray[np.bool_]

FLAT_HEIGHTS: Final = np.array([ANKLE_HEIGHT, ANKLE_HEIGHT, TOE_HEIGHT, TOE_HEIGHT])
"""Height of each of CONTACT_JOINTS while its foot is flat on the floor, metres."""
ENTER_HEIGHT: Final = 0.03
LEAVE_HEIGHT: Final = 0.055
"""A contact begins below and ends above this much over the flat height, metres."""
ENTER_SPEED: Final = 0.3
LEAVE_SPEED: Final = 0.6
"""A contact begins below and ends above this horizontal speed, m/s."""
SUPPORT_SPEED: Final = 0.3
"""A foot that carries the body slides by mistake, and counts as slower by this much, m/s."""
MIN_SECONDS: Final = 0.12
"""Shorter contacts are dropped."""
MAX_GAP_SECONDS: Final = 0.07
"""Gaps between contacts of up to this length are closed."""
SPEED_WINDOW: Final = 7
"""Frames over which the speed is fitted."""


def detect_contacts(positions: NDArray[np.floating], fps: float = FPS, support: Bools | None = None) -> Bools:
    """Contacts (T, 4) in the order of CONTACT_JOINTS.

    The thresholds for beginning and ending a contact are 2.5 cm and 0.3 m/s apart, so differences of a millimetre do
    not make a contact flicker. At 30 fps, gaps of up to two frames are closed and contacts of fewer than four dropped.

    Args:
        positions: (T, 22, 3) metres, floor at y = 0.
        fps: frames per second.
        support: (T, 2) which feet, left and right, carry the body: these may be faster by SUPPORT_SPEED.
    """
    joints = np.asarray(positions, np.float64)[:, CONTACT_JOINTS]
    height = joints[..., 1] - FLAT_HEIGHTS
    speed = horizontal_speed(joints, fps)
    if support is not None:
        speed = speed - SUPPORT_SPEED * np.tile(support, (1, 2))
    flags = hysteresis(
        enter=(height < ENTER_HEIGHT) & (speed < ENTER_SPEED), leave=(height > LEAVE_HEIGHT) | (speed > LEAVE_SPEED)
    )
    for column in flags.T:
        _set_short_runs(column, False, round(MAX_GAP_SECONDS * fps))
        _set_short_runs(column, True, round(MIN_SECONDS * fps) - 1)
    return flags


def horizontal_speed(joints: NDArray[np.floating], fps: float = FPS) -> NDArray[np.float64]:
    """Horizontal speed (T, K) of joints (T, K, 3), m/s, from a parabola fitted to seven frames.

    Clips shorter than that get finite differences.
    """
    ground = np.asarray(joints, np.float64)[..., [0, 2]]
    if len(ground) < 2:
        return np.zeros(ground.shape[:2])
    if len(ground) < SPEED_WINDOW:
        velocity = np.gradient(ground, axis=0)
    else:
        velocity = savitzky_golay(ground, SPEED_WINDOW, 2, deriv=1)
    return rot.length(velocity) * fps


def hysteresis(enter: Bools, leave: Bools) -> Bools:
    """State (T, K), initially off, that turns on where `enter` holds, off where `leave` holds, and else persists."""
    frames = np.arange(len(enter))[:, None]
    on = np.maximum.accumulate(np.where(enter, frames, -1))
    off = np.maximum.accumulate(np.where(leave, frames, -1))
    return on > off


def spans(flags: Bools) -> NDArray[np.int64]:
    """First and last frame (N, 2) of every run of True in flags (T,)."""
    edges = np.flatnonzero(np.diff(np.r_[False, flags, False]))
    return np.stack([edges[::2], edges[1::2] - 1], axis=1)


def _set_short_runs(flags: Bools, value: bool, longest: int) -> None:
    """Invert, in place, runs of `value` of up to `longest` frames; runs of False at the clip's ends are kept."""
    for first, last in spans(flags == value):
        inside = value or (first > 0 and last < len(flags) - 1)
        if inside and last - first < longest:
            flags[first : last + 1] = not value
