"""Float: the share of frames in which nothing carries the body, although it does not fall as a jump would."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.evaluation.checks import Array, frame_rate, moving
from choreo.evaluation.foot_height import REST
from choreo.motion.skeleton import (
    CHEST,
    CONTACT_JOINTS,
    FPS,
    NECK,
    NUM_JOINTS,
    PELVIS,
    SPINE1,
    SPINE2,
)

FOOT_CLEARANCE: Final = 0.05
"""A foot whose ankle and toe are farther than this above their height in a flat foot is in the air, metres."""
BODY_CLEARANCE: Final = 0.15
"""A joint that is not of a foot and lower than this carries the body: hands, knees or seat on the floor, metres."""
GRAVITY: Final = 9.81
"""m/s^2."""
FALLING: Final = GRAVITY / 2
"""A trunk that accelerates downwards by at least this much is in free fall; the margin is for limbs that move."""
TRUNK: Final = (PELVIS, SPINE1, SPINE2, CHEST, NECK)
BODY: Final = tuple(joint for joint in range(NUM_JOINTS) if joint not in CONTACT_JOINTS)


def float_percent(positions: NDArray[Any], fps: float = FPS) -> float:
    """Frames that float, in percent of all frames; lower is better.

    A frame is in the air where no foot is within FOOT_CLEARANCE of the floor and no other joint within BODY_CLEARANCE.
    Three and more of these in a row are a jump, and do not float, where the parabola that fits the mean height of the
    trunk best opens downwards with at least FALLING.

    The share of floating frames is "Foot Floating" of MBench (Lin et al. 2025, "The Quest for Generalizable Motion
    Generation"), whose thresholds on ratios of foot and root velocity are replaced by free fall.

    Args:
        positions: (T, 22, 3) metres, y up, floor at y = 0.
        fps: frames per second.
    Returns:
        A number in [0, 100].
    Raises:
        InvalidInput: wrong shape, NaN, infinity, or fewer than two frames.
    """
    p, rate = moving(positions), frame_rate(fps)
    feet = (p[:, CONTACT_JOINTS, 1] - REST).min(axis=1)
    in_air = (feet > FOOT_CLEARANCE) & (p[:, BODY, 1].min(axis=1) > BODY_CLEARANCE)
    trunk = p[:, TRUNK, 1].mean(axis=1)
    edges = np.flatnonzero(np.diff(in_air, prepend=False, append=False)).reshape(-1, 2).tolist()
    floating = sum(end - start for start, end in edges if not _falls(trunk, start, end, rate))
    return float(100 * floating / len(p))


def _falls(height: Array, start: int, end: int, fps: float) -> bool:
    """Whether frames from `start` to before `end` are a free fall; heights (T,), metres."""
    if end - start < 3:
        return False
    seconds = np.arange(end - start) / fps
    return bool(2 * np.polyfit(seconds, height[start:end], 2)[0] <= -FALLING)
