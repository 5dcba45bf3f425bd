"""Travel: how far a dance goes over the floor.

Post-processing reports it and evaluation scores it, so it belongs to neither.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from choreo.motion.clip import check_positions
from choreo.motion.skeleton import FPS, PELVIS

SMOOTHING_SECONDS: Final = 0.25
"""Standard deviation of the Gaussian that takes sway within a step out of the path."""


def travel(positions: NDArray[np.floating], fps: float = FPS) -> float:
    """Length of the smoothed horizontal path of the pelvis, metres; 0 for a single frame.

    Args:
        positions: (T, 22, 3) metres, y up.
        fps: frames per second.
    Raises:
        InvalidInput: wrong shape, NaN or infinity.
    """
    check_positions(positions, "positions")
    return float(np.linalg.norm(np.diff(ground_path(positions, fps), axis=0), axis=-1).sum())


def ground_path(positions: NDArray[np.floating], fps: float = FPS) -> NDArray[np.float64]:
    """Smoothed horizontal path (T, 2) of the pelvis, x and z in metres.

    Args:
        positions: (T, 22, 3) metres, y up.
        fps: frames per second.
    """
    ground = np.asarray(positions, np.float64)[:, PELVIS, [0, 2]]
    path = gaussian_filter1d(ground, SMOOTHING_SECONDS * fps, axis=0, mode="nearest")
    return np.asarray(path, np.float64)
