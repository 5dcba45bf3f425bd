"""Where the floor is, and keeping bodies above it."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, percentile_filter, uniform_filter1d

from choreo.motion.skeleton import (
    ANKLE_HEIGHT,
    CONTACT_JOINTS,
    FPS,
    L_ANKLE,
    L_FOOT,
    L_KNEE,
    NUM_JOINTS,
    R_ANKLE,
    R_FOOT,
    R_KNEE,
    TOE_HEIGHT,
)

Array = NDArray[np.float64]

WINDOW_SECONDS: Final = 2.0
"""A dancer touches the floor at least this often."""
PERCENTILE: Final = 10
"""The floor is this percentile of the lowest joint's height in a window: a minimum would follow noise."""
NOISE_SECONDS: Final = 0.25
"""Heights are averaged over this before the lowest is taken, which noise would make too low."""
SMOOTHING_SECONDS: Final = 0.5
TOLERANCE: Final = 0.01
"""A floor within this of y = 0 is left where it is, metres: feet differ by as much between flat and rolling."""
LIFT_SECONDS: Final = 0.25
BODY: Final = tuple(j for j in range(NUM_JOINTS) if j not in CONTACT_JOINTS)


def _resting_heights() -> Array:
    """Height of each joint above the floor it rests on: the flesh below the joint."""
    heights = np.full(NUM_JOINTS, 0.08)
    heights[[L_FOOT, R_FOOT, 20, 21]] = TOE_HEIGHT
    heights[[L_KNEE, R_KNEE, 18, 19]] = 0.04
    heights[[L_ANKLE, R_ANKLE]] = ANKLE_HEIGHT
    return heights


RESTING_HEIGHTS: Final = _resting_heights()


def floor_curve(positions: NDArray[np.floating], fps: float = FPS) -> Array:
    """Height of the floor (T,) under a motion (T, 22, 3), metres; it varies over seconds at most.

    Every joint may be the one that touches, so a dancer who lies or kneels is not taken for one who hovers. A clip
    shorter than the window may be one jump: there the curve is a constant that is never above 0.
    """
    heights = np.asarray(positions, np.float64)[..., 1] - RESTING_HEIGHTS
    support = uniform_filter1d(heights, max(1, round(NOISE_SECONDS * fps)), axis=0, mode="nearest").min(axis=1)
    window = round(WINDOW_SECONDS * fps)
    if len(support) < window:
        return _beyond_tolerance(np.full(len(support), min(0.0, float(np.percentile(support, PERCENTILE)))))
    low = percentile_filter(support, PERCENTILE, size=window, mode="reflect")
    return _beyond_tolerance(gaussian_filter1d(low, SMOOTHING_SECONDS * fps, mode="nearest"))


def levelled(positions: NDArray[np.floating]) -> NDArray[np.float64]:
    """The same motion (T, 22, 3) with its floor at y = 0 all the way: retargeted recordings drift over seconds."""
    out = np.array(positions, np.float64)
    out[..., 1] -= floor_curve(out)[:, None]
    return out


def _beyond_tolerance(height: Array) -> Array:
    return height - np.clip(height, -TOLERANCE, TOLERANCE)


def lift_above(heights: NDArray[np.floating], fps: float = FPS) -> Array:
    """Smooth upward shift (T,) that brings heights (T, K) to 0 or above, metres."""
    return smooth_envelope(np.maximum(0.0, -np.asarray(heights, np.float64).min(axis=1)), LIFT_SECONDS, fps)


def smooth_envelope(need: NDArray[np.floating], seconds: float, fps: float = FPS) -> Array:
    """Smooth curve (T,) that is nowhere below `need` (T,) and returns to it within `seconds`."""
    half = max(1, round(seconds * fps / 2))
    # The mean, over a kernel, of the maximum over the same kernel cannot fall below the value in its middle.
    kernel = np.hanning(2 * half + 3)[1:-1]
    top = maximum_filter1d(np.asarray(need, np.float64), 2 * half + 1, mode="nearest")
    return np.convolve(np.pad(top, half, mode="edge"), kernel / kernel.sum(), mode="valid")
