"""How a motion of any length is cut into overlapping windows, and how their predictions become one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Weights = NDArray[np.float64]


def window_starts(num_frames: int, window: int, overlap: int) -> list[int]:
    """First frames of the windows that cover num_frames, each `overlap` frames into the one before."""
    hop = window - overlap
    return [0] if num_frames <= window else list(range(0, num_frames - overlap, hop))


def timeline_length(starts: list[int], window: int) -> int:
    """Frames from the first window's start to the last one's end."""
    return starts[-1] + window


def cut(timeline: Array, starts: list[int], window: int) -> Array:
    """Windows (W, window, C) of a timeline (T, C)."""
    return np.stack([timeline[s : s + window] for s in starts])


def ramps(starts: Sequence[int], window: int, overlap: int) -> tuple[list[Weights], Weights]:
    """Weight of every frame of every window, each (window,), and their sums over the timeline (T,).

    Weights rise and fall in straight lines across each overlap. Predictions are blended before the update, so all
    windows stay consistent at every step and no history is copied.
    """
    rise = np.arange(1, overlap + 1) / (overlap + 1)
    inner, first, last = np.ones(window), np.ones(window), np.ones(window)
    if overlap:
        inner[:overlap] = last[:overlap] = rise
        inner[-overlap:] = first[-overlap:] = rise[::-1]
    if len(starts) == 1:
        return [np.ones(window)], np.ones(window)
    own = [first, *[inner] * (len(starts) - 2), last]
    total = np.zeros(starts[-1] + window)
    for start, weights in zip(starts, own, strict=True):
        total[start : start + window] += weights
    return own, total
