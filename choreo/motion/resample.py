"""Resampling of joint positions to another frame rate."""

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion.clip import MAX_FRAMES

Array = NDArray[np.float64]


def resampled_frames(frames: int, fps: float, target: float) -> int:
    """How many frames `resample` makes of `frames` at `fps`: what is compared with other lengths is this, not `frames`.

    Args:
        frames: at least 1.
        fps, target: positive frames per second.

    Returns:
        The number; MAX_FRAMES + 1 stands for anything beyond MAX_FRAMES.
    """
    # The tolerance keeps the last frame if rounding puts its time just below it (29.97 fps read back as 29.9700001).
    return int(min((frames - 1) * (target / fps) + 1e-6, MAX_FRAMES)) + 1


def resample(positions: NDArray[np.floating], fps: float, target: float, field: str = "motion") -> Array:
    """Linear interpolation of positions (T, ...) from `fps` to `target` frames per second -> (N, ...).

    Frame k of the result is the input at k / target seconds; N = floor((T - 1) target / fps) + 1, so nothing is
    extrapolated beyond the last input frame. Equal rates give a copy.

    Args:
        positions: (T, ...), any unit.
        fps: frames per second of the input.
        target: frames per second of the result.
        field: name of the positions in errors.
    Raises:
        InvalidInput: no frames, a rate that is not positive and finite, or a result of more than MAX_FRAMES frames.
    """
    positions = np.asarray(positions, np.float64)
    for name, rate in (("fps", fps), ("target", target)):
        if not (np.isfinite(rate) and rate > 0):
            raise InvalidInput(name, f"must be a positive number of frames per second, got {rate}")
    if not len(positions):
        raise InvalidInput(field, "holds no frames")
    if fps == target:
        return positions.copy()
    frames = resampled_frames(len(positions), fps, target)
    if frames > MAX_FRAMES:
        raise InvalidInput(field, f"is longer than {MAX_FRAMES} frames at {target:g} frames per second")
    times = np.minimum(np.arange(frames) * (fps / target), len(positions) - 1)
    before = np.minimum(times.astype(np.int64), max(len(positions) - 2, 0))
    after = np.minimum(before + 1, len(positions) - 1)
    weight = (times - before).reshape(-1, *([1] * (positions.ndim - 1)))
    return positions[before] * (1 - weight) + positions[after] * weight
