"""Resampling to 60 fps, the rate at which the dance features of AIST++ are defined."""

from typing import Final

import numpy as np
from scipy.interpolate import CubicSpline

from choreo.evaluation.checks import Array

AIST_FPS: Final = 60


def at_60_fps(positions: Array, fps: float) -> Array:
    """Positions (T, ...) resampled to 60 fps by cubic splines, without extrapolation; equal rates give the same array.

    Linear interpolation would not do: accelerations are computed from the result, and would become pulses.
    """
    if fps == AIST_FPS:
        return positions
    frames = int((len(positions) - 1) * AIST_FPS / fps + 1e-6) + 1
    times = np.minimum(np.arange(frames) * (fps / AIST_FPS), len(positions) - 1)
    return np.asarray(CubicSpline(np.arange(len(positions)), positions, axis=0)(times))
