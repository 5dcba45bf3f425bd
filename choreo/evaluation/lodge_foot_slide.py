"""Foot-sliding ratio of Lodge: the share of the frames with a foot down in which that foot slides."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.evaluation.checks import Array, frame_rate, moving
from choreo.motion.skeleton import FPS, L_ANKLE, L_FOOT, R_ANKLE, R_FOOT, TOE_HEIGHT

ANKLE: Final = 0.08
"""Largest height of the ankle above a resting toe for a foot that is down, metres."""
TOE: Final = 0.05
"""The same for a toe."""
SLIDE: Final = 0.3
"""A foot that is down slides if it moves faster than this, m/s: 0.01 m per frame at 30 fps."""
FEET: Final = ((L_ANKLE, L_FOOT), (R_ANKLE, R_FOOT))
SAME_LEVEL: Final = 0.02
"""Toes whose heights differ by less than this are both on the floor (legacy), metres."""


def lodge_foot_slide_ratio(positions: NDArray[Any], fps: float = FPS, legacy: bool = False) -> float | None:
    """FSR, lower is better (Li et al. 2024, "Lodge"): frames with a slide / frames down, averaged over both feet.

    Args:
        positions: (T, 22, 3) metres, y up, floor at y = 0.
        fps: frames per second.
        legacy: as in the published code: the floor is at the height of the toes in the first frame, the speed is
            |vx + vz| / 2, which misses a slide along x = -z, and the last frame counts as still.
    Returns:
        A number in [0, 1]; a foot that is never down is left out. None if neither is ever down.
    Raises:
        InvalidInput: wrong shape, NaN, infinity, or fewer than two frames.
    """
    p = moving(positions)
    rate = frame_rate(fps)
    floor = _first_level(p) if legacy else TOE_HEIGHT
    ratios = []
    for (ankle, toe), down in zip(FEET, feet_down(p, floor).T, strict=True):
        step = np.diff(p[:, [ankle, toe]][..., [0, 2]], axis=0) * rate
        speed = np.abs(step.mean(axis=-1)) if legacy else np.linalg.norm(step, axis=-1)
        slides = (speed > SLIDE).any(axis=1) & down[:-1]
        frames = (down if legacy else down[:-1]).sum()
        if frames:
            ratios.append(slides.sum() / frames)
    return float(np.mean(ratios)) if ratios else None


def feet_down(p: Array, floor: float = TOE_HEIGHT) -> NDArray[np.bool_]:
    """Whether the left and the right foot are down, (T, 2).

    Args:
        p: positions (T, 22, 3), metres, y up.
        floor: height of a resting toe, metres.
    """
    return np.stack([(p[:, a, 1] <= floor + ANKLE) & (p[:, toe, 1] <= floor + TOE) for a, toe in FEET], axis=1)


def _first_level(p: Array) -> float:
    left, right = p[0, [L_FOOT, R_FOOT], 1]
    return float((left + right) / 2 if abs(left - right) < SAME_LEVEL else min(left, right))
