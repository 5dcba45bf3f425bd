"""Estimation of the floor's height, and lifting bodies above the floor."""

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
"""Length of the window for the floor estimate: a dancer is expected to touch the floor at least this often."""
PERCENTILE: Final = 10
"""The floor is this percentile of the lowest joint's height in a window; a minimum would follow noise."""
NOISE_SECONDS: Final = 0.25
"""Heights are averaged over this time before the lowest joint is taken, which noise would bias downwards."""
SMOOTHING_SECONDS: Final = 0.5
"""Standard deviation of the Gaussian that smooths the floor curve."""
TOLERANCE: Final = 0.01
"""A floor this close to y = 0 is not corrected, metres: flat and rolling feet differ by as much."""
LIFT_SECONDS: Final = 0.25
"""Time over which a lift fades in and out."""
BODY: Final = tuple(j for j in range(NUM_JOINTS) if j not in CONTACT_JOINTS)
"""All joints but ankles and toes."""


def _resting_heights() -> Array:
    """Height of each joint above a floor that it rests on: the thickness of the body below the joint, metres."""
    heights = np.full(NUM_JOINTS, 0.08)
    heights[[L_FOOT, R_FOOT, 20, 21]] = TOE_HEIGHT
    heights[[L_KNEE, R_KNEE, 18, 19]] = 0.04
    heights[[L_ANKLE, R_ANKLE]] = ANKLE_HEIGHT
    return heights


RESTING_HEIGHTS: Final = _resting_heights()


def floor_curve(positions: NDArray[np.floating], fps: float = FPS) -> Array:
    """Height of the floor (T,) under a motion, metres, varying slowly.

    Any joint may be the one that touches the floor, so a dancer who lies or kneels is not mistaken for a hovering one.
    A clip shorter than the window may be a single jump; its curve is a constant of at most 0.

    Args:
        positions: (T, 22, 3) metres.
        fps: frames per second.
    """
    heights = np.asarray(positions, np.float64)[..., 1] - RESTING_HEIGHTS
    support = uniform_filter1d(heights, max(1, round(NOISE_SECONDS * fps)), axis=0, mode="nearest").min(axis=1)
    window = round(WINDOW_SECONDS * fps)
    if len(support) < window:
        return _beyond_tolerance(np.full(len(support), min(0.0, float(np.percentile(support, PERCENTILE)))))
    low = percentile_filter(support, PERCENTILE, size=window, mode="reflect")
    return _beyond_tolerance(gaussian_filter1d(low, SMOOTHING_SECONDS * fps, mode="nearest"))


def levelled(positions: NDArray[np.floating]) -> NDArray[np.float64]:
    """Motion (T, 22, 3) with its floor moved to y = 0 in every frame; retargeted recordings drift over seconds."""
    out = np.array(positions, np.float64)
    out[..., 1] -= floor_curve(out)[:, None]
    return out


def _beyond_tolerance(height: Array) -> Array:
    return height - np.clip(height, -TOLERANCE, TOLERANCE)


def lift_above(heights: NDArray[np.floating], fps: float = FPS) -> Array:
    """Smooth upward shift (T,) that raises all heights (T, K) to at least 0, metres."""
    return smooth_envelope(np.maximum(0.0, -np.asarray(heights, np.float64).min(axis=1)), LIFT_SECONDS, fps)


def smooth_envelope(need: NDArray[np.floating], seconds: float, fps: float = FPS) -> Array:
    """Smooth curve (T,) that is nowhere below `need` (T,) and approaches it again within `seconds`."""
    half = max(1, round(seconds * fps / 2))
    # A weighted mean of running maxima, both over the same window, cannot fall below the value in its middle.
    kernel = np.hanning(2 * half + 3)[1:-1]
    top = maximum_filter1d(np.asarray(need, np.float64), 2 * half + 1, mode="nearest")
    return np.convolve(np.pad(top, half, mode="edge"), kernel / kernel.sum(), mode="valid")
