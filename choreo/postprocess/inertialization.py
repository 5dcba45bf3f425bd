"""Carrying given frames over into generated ones without a jump (inertialization, Bollo 2018)."""

import numpy as np
from numpy.typing import NDArray

EASE_FRAMES = 15


def carried_over(features: NDArray[np.floating], count: int, frames: int = EASE_FRAMES) -> NDArray[np.float64]:
    """Ease the frames after the first `count` given ones out of where those were heading.

    What the given frames lead one to expect next, minus what comes next, is added to what follows and fades to nothing,
    so that pose and velocity are continuous where generated motion takes over.

    Args:
        features: (T, C), the first `count` frames given.
        count: 0 changes nothing. One given frame has no velocity; that of the following motion stands in.
        frames: length of the fade.
    """
    out = np.array(features, np.float64)
    if not 0 < count < len(out):
        return out
    ahead = out[count + 1] - out[count] if count + 1 < len(out) else np.zeros(out.shape[1])
    pace = out[count - 1] - out[count - 2] if count > 1 else ahead
    span = min(frames, len(out) - count)
    offset = out[count - 1] + pace - out[count]
    s = np.arange(span)[:, None] / frames
    # Cubic Hermite from (offset, difference of the velocities) to (0, 0).
    fade = (2 * s**3 - 3 * s**2 + 1) * offset + (s**3 - 2 * s**2 + s) * (pace - ahead) * frames
    out[count : count + span] += fade
    return out
