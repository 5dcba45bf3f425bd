"""A motion at another frame rate, with its rotations."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from choreo.errors import InvalidInput
from choreo.motion import rotations as rot
from choreo.motion.clip import MAX_FRAMES, Motion
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.resample import resampled_frames

RATES: Final = (1.0, 120.0)
"""Frames per second that a motion may be asked for at."""


def check_rate(fps: float, frames: int | None = None, source_fps: float = 1.0) -> float:
    """Check a frame rate that is asked for.

    Args:
        fps: frames per second.
        frames: of the motion, at `source_fps`; None where it is not known yet.
        source_fps: of the motion.

    Raises:
        InvalidInput: out of range, or too many frames.
    """
    if not RATES[0] <= fps <= RATES[1]:  # NaN is neither
        raise InvalidInput("fps", f"must be between {RATES[0]:g} and {RATES[1]:g} frames per second, got {fps}")
    if frames is not None and resampled_frames(frames, source_fps, fps) > MAX_FRAMES:
        raise InvalidInput("fps", f"makes more than {MAX_FRAMES} frames of {frames / source_fps:.0f} s; ask for fewer")
    return fps


def at_frame_rate(motion: Motion, fps: float) -> Motion:
    """A motion at `fps`: frame k is what the motion is at k / fps seconds, along cubic splines through its frames.

    Rotations are interpolated in their six-dimensional form (Zhou et al. 2019), and positions are their forward
    kinematics, so that bones keep their lengths. Nothing is extrapolated beyond the last frame.

    Raises:
        InvalidInput: see `check_rate`.
    """
    check_rate(fps, motion.num_frames, motion.fps)
    if fps == motion.fps or motion.num_frames == 1:
        return Motion(motion.positions, fps, motion.rotations, motion.meta)
    times = np.arange(resampled_frames(motion.num_frames, motion.fps, fps)) * (motion.fps / fps)
    times = np.minimum(times, motion.num_frames - 1)
    if motion.rotations is None:
        return Motion(_spline(motion.positions, times).astype(np.float32), fps, meta=motion.meta)
    local = rot.from_six(_spline(rot.to_six(motion.rotations), times))
    positions = forward_kinematics(_spline(motion.positions[:, 0], times), local)
    return Motion(positions.astype(np.float32), fps, local.astype(np.float32), motion.meta)


def _spline(values: NDArray[np.floating], times: NDArray[np.float64]) -> NDArray[np.float64]:
    spline = CubicSpline(np.arange(len(values)), np.asarray(values, np.float64), axis=0)
    return np.asarray(spline(times), np.float64)
