"""Beat alignment: how close the moments at which a dancer pauses are to the beats of the music.

There are two published forms, which differ in what they average over and in their definition of a pause. Their
constants are given in frames at 60 fps and converted, so that times are the same at every frame rate.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import argrelmin, find_peaks

from choreo.motion.clip import check_positions
from choreo.motion.skeleton import FPS

Array = NDArray[np.float64]

PUBLISHED_FPS: Final = 60
MATCH_FRAMES: Final = 3
"""Standard deviation of the Gaussian that scores a time difference, frames at 60 fps: 50 ms."""
SMOOTHING_FRAMES: Final = 5
"""Standard deviation of the Gaussian that smooths the speed before its minima are located (Bailando)."""
ORDER_FRAMES: Final = 10
"""A minimum must be the lowest within this many frames on either side (AIST++)."""


def beat_alignment_score(positions: NDArray[np.floating], beats: ArrayLike, fps: float = FPS) -> float | None:
    """BAS: mean over the beats of the music of exp(-d^2 / (2 * 3^2)), d frames to the nearest motion beat.

    Bailando (Siyao et al. 2022); EDGE and Lodge report the same. Motion beats are the minima of the smoothed mean joint
    speed. The score rewards pauses on each beat and does not penalise others in between.

    Args:
        positions: (T, 22, 3) metres.
        beats: of the music, seconds from the first frame; those outside the motion are ignored.
        fps: frames per second.
    Returns:
        A number in [0, 1], 0 for motion that never pauses; None if no beat lies within the motion.
    Raises:
        InvalidInput: wrong shape, NaN or infinity.
    """
    speed = _speed(positions, fps)
    smooth = gaussian_filter1d(speed, SMOOTHING_FRAMES * fps / PUBLISHED_FPS) if len(speed) else speed
    # Like argrelmin, but finds a pause whose two lowest steps are equal, too.
    pauses = find_peaks(-smooth)[0] / fps
    return _mean_match(_inside(beats, len(positions), fps), pauses)


def motion_beat_alignment(positions: NDArray[np.floating], beats: ArrayLike, fps: float = FPS) -> float | None:
    """BA: mean over the motion's beats of exp(-d^2 / (2 * 3^2)), d frames to the nearest beat of the music.

    AIST++ (Li et al. 2021), also POPDG. Motion beats are the minima of the summed joint speed that are lowest within
    ten frames. The score penalises pauses that are not on a beat.

    Args:
        positions: (T, 22, 3) metres.
        beats: of the music, seconds from the first frame; those outside the motion are ignored.
        fps: frames per second.
    Returns:
        A number in [0, 1], 0 for motion that never pauses; None if no beat lies within the motion.
    Raises:
        InvalidInput: wrong shape, NaN or infinity.
    """
    speed = _speed(positions, fps)
    order = max(1, round(ORDER_FRAMES * fps / PUBLISHED_FPS))
    music = _inside(beats, len(positions), fps)
    pauses = argrelmin(speed, order=order)[0] / fps
    if not len(music):
        return None
    return _mean_match(pauses, music) or 0.0


def _speed(positions: NDArray[np.floating], fps: float) -> Array:
    """Mean joint speed (T - 1,), m/s; entry t is the step from frame t to t + 1, at time t / fps."""
    check_positions(positions, "positions")
    return np.linalg.norm(np.diff(np.asarray(positions, np.float64), axis=0), axis=-1).mean(axis=1) * fps


def _inside(beats: ArrayLike, num_frames: int, fps: float) -> Array:
    times = np.unique(np.asarray(beats, np.float64).reshape(-1))
    return times[np.isfinite(times) & (times >= 0) & (times < num_frames / fps)]


def _mean_match(of: Array, to: Array) -> float | None:
    """Mean, over the times `of`, of the score of the nearest of the times `to`, seconds; None if `of` is empty."""
    if not len(of):
        return None
    if not len(to):
        return 0.0
    off = np.abs(of[:, None] - to).min(axis=1) * PUBLISHED_FPS
    return float(np.exp(-(off**2) / (2 * MATCH_FRAMES**2)).mean())
