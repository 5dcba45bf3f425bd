"""How a motion of any length is cut into overlapping windows, and how their predictions become one."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


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


def blend(windows: Array, starts: list[int], overlap: int) -> NDArray[np.float32]:
    """Windows (W, window, C) of predicted x0 to one timeline, linear ramps across each overlap.

    The blend acts on x0 before the update, so all windows stay consistent at every step and no history is copied.
    """
    count, window, channels = windows.shape
    total = np.zeros((timeline_length(starts, window), channels), np.float64)
    weight = np.zeros(len(total))
    ramp = np.ones(window)
    if count > 1 and overlap:
        rise = np.arange(1, overlap + 1) / (overlap + 1)
        ramp[:overlap], ramp[-overlap:] = rise, rise[::-1]
    for i, start in enumerate(starts):
        own = ramp.copy()
        if i == 0:
            own[:overlap] = 1
        if i == count - 1:
            own[window - overlap :] = 1
        total[start : start + window] += windows[i] * own[:, None]
        weight[start : start + window] += own
    return (total / weight[:, None]).astype(np.float32)
