"""How a motion of any length is cut into overlapping windows, and how their predictions become one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]


def window_starts(num_frames: int, window: int, overlap: int) -> list[int]:
    """First frames of the windows that cover num_frames, each `overlap` frames into the one before."""
    hop = window - overlap
    return [0] if num_frames <= window else list(range(0, num_frames - overlap, hop))


def timeline_length(starts: list[int], window: int) -> int:
    """Frames from the first window's start to the last one's end."""
    return starts[-1] + window


def shares(starts: Sequence[int], window: int, overlap: int) -> list[Weights]:
    """Part that each window has in every frame of its own, (window, 1) or, where it is all, (1, 1); they sum to 1.

    Parts rise and fall in straight lines across each overlap. Predictions are blended before the update, so all
    windows stay consistent at every step and no history is copied.
    """
    if len(starts) == 1:
        return [np.ones((1, 1))]
    rise = np.arange(1, overlap + 1)[:, None] / (overlap + 1)
    inner, first, last = np.ones((window, 1)), np.ones((window, 1)), np.ones((window, 1))
    if overlap:
        inner[:overlap] = last[:overlap] = rise
        inner[-overlap:] = first[-overlap:] = rise[::-1]
    return [first, *[inner] * (len(starts) - 2), last]
