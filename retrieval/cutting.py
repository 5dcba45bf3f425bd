"""Where a recording is cut into phrases: at counts of eight where beats are known, else where the body pauses."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import argrelmin

from choreo.motion.skeleton import FPS, PELVIS

PHRASE_FRAMES: Final = (64, 240)
"""Shortest and longest phrase."""
COUNTS: Final = (8, 4, 16, 32)
"""Beats per phrase, the best first."""
PAUSE_SECONDS: Final = (2.0, 6.0)
"""Shortest and longest stretch between kinematic boundaries."""
_UNEVEN: Final = 1.6
"""A gap between beats of so many median periods is a beat that was missed."""
_SMOOTH_SECONDS: Final = 0.15


@dataclass(frozen=True)
class Cut:
    """Frames first..last - 1 of a recording."""

    first: int
    last: int


def cut(
    positions: NDArray[np.floating], beats: ArrayLike, phrase_frames: tuple[int, int] = PHRASE_FRAMES, meter: int = 4
) -> list[Cut]:
    """Cuts of positions (T, 22, 3) at 30 fps that are all within `phrase_frames`, in order, without overlap.

    Args:
        beats: seconds from the first frame; may be empty.
        meter: beats per bar; with 3, dancers count sixes instead of eights.
    """
    if len(positions) < phrase_frames[0]:
        return []
    frames = np.rint(np.unique(np.asarray(beats, np.float64).reshape(-1)) * FPS)
    frames = frames[np.isfinite(frames) & (frames >= 0) & (frames <= len(positions))].astype(int)
    if len(frames) > min(COUNTS) and (cuts := _at_counts(frames, phrase_frames, meter)):
        return cuts
    return _at_pauses(positions, phrase_frames)


def _at_counts(frames: NDArray[np.int64], phrase_frames: tuple[int, int], meter: int) -> list[Cut]:
    """Stretches of the first count whose usual length fits; what is left at the end may be half a count."""
    period = float(np.median(np.diff(frames)))
    counts = [count * meter // 4 for count in COUNTS]
    fitting = [c for c in counts if phrase_frames[0] <= c * period <= phrase_frames[1]]
    if not fitting:
        return []
    cuts, at = [], 0
    while at < len(frames) - 1:
        count = next((c for c in (fitting[0], counts[1]) if at + c < len(frames)), None)
        if count is None:
            break
        gaps = np.diff(frames[at : at + count + 1])
        if gaps.max() > _UNEVEN * period:
            at += int(np.argmax(gaps > _UNEVEN * period)) + 1
            continue
        if phrase_frames[0] <= frames[at + count] - frames[at] <= phrase_frames[1]:
            cuts.append(Cut(int(frames[at]), int(frames[at + count])))
        at += count
    return cuts


def _at_pauses(positions: NDArray[np.floating], phrase_frames: tuple[int, int]) -> list[Cut]:
    """Stretches that end at the deepest pause within reach."""
    low, high = (round(s * FPS) for s in PAUSE_SECONDS)
    low, high = max(low, phrase_frames[0]), min(high, phrase_frames[1])
    if low > high:
        low, high = phrase_frames
    body = np.asarray(positions, np.float64)
    speed = np.linalg.norm(np.diff(body - 0.5 * body[:, [PELVIS]], axis=0), axis=-1).mean(1)
    speed = gaussian_filter1d(np.append(speed, speed[-1]), _SMOOTH_SECONDS * FPS, mode="nearest")
    pauses = argrelmin(speed)[0]
    cuts, at = [], 0
    while len(body) - at >= low:
        if len(body) - at <= high:
            cuts.append(Cut(at, len(body)))
            break
        # Leave no rest that is too short for a phrase of its own, where that can be helped.
        latest = min(at + high, max(len(body) - low, at + low))
        inside = pauses[(pauses >= at + low) & (pauses <= latest)]
        candidates = inside if len(inside) else np.arange(at + low, latest + 1)
        end = int(candidates[np.argmin(speed[candidates])])
        cuts.append(Cut(at, end))
        at = end
    return cuts
