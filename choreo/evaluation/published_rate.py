"""Motion at the 60 frames per second at which the dance features of AIST++ are defined."""

from typing import Final

import numpy as np
from scipy.interpolate import CubicSpline

from choreo.evaluation.checks import Array

AIST_FPS: Final = 60


def at_60_fps(positions: Array, fps: float) -> Array:
    """Positions (T, ...) by cubic spline at 60 fps, not beyond the last frame; equal rates give the same array.

    Not linear: accelerations are taken of the result, and those of straight pieces are pulses.
    """
    if fps == AIST_FPS:
        return positions
    frames = int((len(positions) - 1) * AIST_FPS / fps + 1e-6) + 1
    times = np.minimum(np.arange(frames) * (fps / AIST_FPS), len(positions) - 1)
    return np.asarray(CubicSpline(np.arange(len(positions)), positions, axis=0)(times))
