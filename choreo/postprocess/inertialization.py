"""Inertialization (Bollo 2018): from given frames to generated ones without a jump."""

import numpy as np
from numpy.typing import NDArray

EASE_FRAMES = 15
"""Length of the transition, frames."""


def carried_over(features: NDArray[np.floating], count: int, frames: int = EASE_FRAMES) -> NDArray[np.float64]:
    """Make the transition after the first `count` frames continuous in value and velocity.

    The difference between the linear extrapolation of the given frames and the generated frame is added to the frames
    that follow, along a cubic Hermite curve that fades to 0.

    Args:
        features: (T, C), of which the first `count` frames are given.
        count: number of given frames; 0 changes nothing. A single one has no velocity, so the following motion's is
            used.
        frames: length of the fade.
    Returns:
        Features (T, C); the given frames are unchanged.
    """
    out = np.array(features, np.float64)
    if not 0 < count < len(out):
        return out
    ahead = out[count + 1] - out[count] if count + 1 < len(out) else np.zeros(out.shape[1])
    pace = out[count - 1] - out[count - 2] if count > 1 else ahead
    span = min(frames, len(out) - count)
    offset = out[count - 1] + pace - out[count]
    s = np.arange(span)[:, None] / frames
    # Cubic Hermite curve from (offset, difference of the velocities) to (0, 0).
    fade = (2 * s**3 - 3 * s**2 + 1) * offset + (s**3 - 2 * s**2 + s) * (pace - ahead) * frames
    out[count : count + span] += fade
    return out
