"""Inertialization (Bollo 2018): from given frames to generated ones, and back, without a jump."""

import numpy as np
from numpy.typing import NDArray

from choreo.postprocess.contacts import spans

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


def eased_around(
    features: NDArray[np.floating], given: NDArray[np.bool_], frames: int = EASE_FRAMES
) -> NDArray[np.float64]:
    """`carried_over` after each run of given frames, and in the same way backwards ahead of it.

    Args:
        features: (T, C).
        given: (T,) frames that are given.
        frames: length of a fade; half of the gap between two runs where that is shorter.

    Returns:
        Features (T, C); the given frames are unchanged.
    """
    out = np.array(features, np.float64)
    bounds = [(int(first), int(last)) for first, last in spans(given)]
    for i, (first, last) in enumerate(bounds):
        after = bounds[i + 1][0] if i + 1 < len(bounds) else None
        stop = len(out) if after is None else after
        fade = frames if after is None else min(frames, (stop - last - 1) // 2)
        if fade:
            part = out[first : len(out) if after is None else last + 1 + fade]
            out[first : first + len(part)] = carried_over(part, last + 1 - first, fade)
        before = bounds[i - 1][1] if i else None
        begin = 0 if before is None else before + 1
        fade = frames if before is None else min(frames, (first - begin) // 2)
        if first > begin and fade:
            part = out[begin if before is None else first - fade : last + 1][::-1]
            out[last + 1 - len(part) : last + 1] = carried_over(part, last + 1 - first, fade)[::-1]
    return out
