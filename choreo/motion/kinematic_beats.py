"""Beats of a motion: the instants at which the body nearly stops between two movements."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import argrelmin

from choreo.motion.skeleton import FPS

SMOOTHING_SECONDS: Final = 5 / 60
"""Standard deviation of the Gaussian filter of the joint speed: Bailando's 5 frames at 60 fps."""


def joint_speed(positions: NDArray[np.floating], fps: float = FPS) -> NDArray[np.float64]:
    """Mean speed of the joints (T - 1,), m/s; entry t is the step from frame t to frame t + 1.

    Args:
        positions: (T, J, 3) metres.
        fps: frames per second.
    """
    step = np.diff(np.asarray(positions, np.float64), axis=0)
    return np.linalg.norm(step, axis=-1).mean(axis=1) * fps


def kinematic_beats(positions: NDArray[np.floating], fps: float = FPS) -> NDArray[np.int64]:
    """Frames (n,) at which the smoothed mean joint speed has a local minimum (Siyao et al. 2022, "Bailando").

    Args:
        positions: (T, J, 3) metres.
        fps: frames per second.
    """
    speed = joint_speed(positions, fps)
    if len(speed) < 3:
        return np.zeros(0, np.int64)
    return np.asarray(argrelmin(gaussian_filter1d(speed, SMOOTHING_SECONDS * fps))[0], np.int64)
