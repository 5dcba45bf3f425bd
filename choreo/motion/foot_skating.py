"""Foot-skating ratio: how often a foot slides while it is on the floor.

Post-processing reports it and evaluation scores it, so it belongs to neither.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from choreo.motion.clip import check_positions
from choreo.motion.skeleton import FPS, L_FOOT, R_FOOT

HEIGHT = 0.05
"""A toe below this height is on the floor, metres."""
SPEED = 0.5
"""A toe on the floor that moves faster than this skates, m/s."""
AVERAGE_FRAMES = 5
"""The mean speed over this many frames must exceed SPEED, too, so that a single noisy frame does not count."""


def foot_skating_ratio(positions: NDArray[np.floating], fps: float = FPS) -> float:
    """Fraction of frame steps at which any foot skates (GMD, Karunratanakul et al. 2023).

    A toe skates from t to t + 1 when it is below HEIGHT at both frames and its horizontal speed exceeds SPEED both at
    that step and as the mean over AVERAGE_FRAMES steps; steps before the first and after the last count as 0 m/s, as
    in the published code.

    Args:
        positions: (T, 22, 3) metres, y up, floor at y = 0.
        fps: frames per second; GMD's own data has 20.
    Returns:
        A number in [0, 1]; 0 for a single frame.
    Raises:
        InvalidInput: wrong shape, NaN or infinity.
    """
    check_positions(positions, "positions")
    if len(positions) < 2:
        return 0.0
    feet = np.asarray(positions, np.float64)[:, [L_FOOT, R_FOOT]]
    speed = np.linalg.norm(np.diff(feet[..., [0, 2]], axis=0), axis=-1) * fps
    average = uniform_filter1d(speed, AVERAGE_FRAMES, axis=0, mode="constant")
    low = feet[..., 1] < HEIGHT
    skating = low[:-1] & low[1:] & (speed > SPEED) & (average > SPEED)
    return float(skating.any(axis=1).mean())
