"""When which part of which phrase plays: chaining, and warping phrase beats onto the beats of a song."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from choreo.motion.skeleton import FPS
from retrieval.phrases import Phrase

Array = NDArray[np.float64]

MAX_WARP: Final = 0.15
"""A phrase plays at 1 - MAX_WARP to 1 + MAX_WARP of its own speed."""
MAX_OCTAVES: Final = 2
"""A phrase may have up to four beats to one of the song, and the reverse."""
_LATEST_ENTRY: Final = 0.5
_ROUNDING: Final = 0.55 / FPS


@dataclass(frozen=True)
class Segment:
    """One phrase on the timeline.

    Attributes:
        choice: which of the phrases.
        first: its first frame on the timeline.
        times: (n,) seconds within the phrase at the timeline's frames first, first + 1, ...
        step: seconds within the phrase from the frame before the first one to it, as if it had played on.
    """

    choice: int
    first: int
    times: Array
    step: float


def chain(phrases: Sequence[Phrase], num_frames: int, beats: ArrayLike, fps: float) -> list[Segment]:
    """Fill frames 0..num_frames - 1 with phrases in turn, each beginning where the one before ends.

    Args:
        phrases: at least one, each of at least two frames.
        beats: of the song, in seconds from the timeline's start; may be empty.
    """
    grid = beat_grid(beats, num_frames / fps)
    segments: list[Segment] = []
    now, frame = 0.0, 0
    while frame < num_frames:
        choice = len(segments) % len(phrases)
        clock, played = warp(phrases[choice], grid, now)
        now = clock[-1]
        last = min(num_frames, max(frame + 1, int(np.ceil(now * fps - 1e-6))))
        times = np.interp(np.arange(frame, last) / fps, clock, played)
        rate = (played[1] - played[0]) / (clock[1] - clock[0])
        segments.append(Segment(choice, frame, times, rate / fps))
        frame = last
    return segments


def beat_grid(beats: ArrayLike, seconds: float) -> Array:
    """Beat times in rising order, continued with the median period from before 0 to beyond `seconds`.

    Empty without at least two beats that are 0.15 to 3 s apart.
    """
    times = np.asarray(beats, np.float64).reshape(-1)
    times = np.unique(times[np.isfinite(times)])
    if len(times) < 2:
        return np.zeros(0)
    period = float(np.median(np.diff(times)))
    if not 0.15 <= period <= 3:
        return np.zeros(0)
    before = times[0] - period * np.arange(max(0, int(np.ceil(times[0] / period))) + 1, 0, -1)
    after = times[-1] + period * np.arange(1, max(0, int(np.ceil((seconds - times[-1]) / period))) + 5)
    return np.concatenate([before, times, after])


def warp(phrase: Phrase, grid: Array, now: float) -> tuple[Array, Array]:
    """Knots of the piecewise-linear map from timeline to phrase: seconds on the timeline and within the phrase.

    Each phrase beat goes to the nearest beat of the song, as far as MAX_WARP lets it. A phrase whose tempo is too far
    off even after octave folding keeps its speed and only its first beat is placed.

    Args:
        grid: the song's beats, seconds on the timeline.
        now: where on the timeline the phrase begins.
    """
    own, end = np.asarray(phrase.beats, np.float64), phrase.num_frames / FPS
    if len(own) < 2 or len(grid) < 2:
        return np.array([now, now + end]), np.array([0.0, end])
    fine, locks = _matched(grid, float(np.median(np.diff(own))))
    entry, landing, own = _enter(own, end, fine, now)
    clock, played = [now], [entry]
    # A phrase is cut at whole frames, so its closing beat may lie half a frame before its end.
    closes = own[-1] > end - _ROUNDING
    for number, beat in enumerate(own[own <= end - _ROUNDING]):
        span = beat - played[-1]
        if span <= 1e-6:
            continue
        target = clock[-1] + span
        if number == 0:
            target = landing
        elif locks:
            target = _nearest(fine, target)
        clock.append(_limited(target, clock[-1], span))
        played.append(beat)
    tail = end - played[-1]
    target = _nearest(fine, clock[-1] + tail) if locks and closes else clock[-1] + tail
    clock.append(_limited(target, clock[-1], tail))
    played.append(end)
    return np.array(clock), np.array(played)


def _matched(grid: Array, period: float) -> tuple[Array, bool]:
    """The song's beats, subdivided if the phrase has several to one, and whether the tempos then agree."""
    octave = round(float(np.log2(period / np.median(np.diff(grid)))))
    octave = int(np.clip(octave, -MAX_OCTAVES, MAX_OCTAVES))
    if octave < 0:
        parts = 2**-octave
        grid = np.interp(np.arange(parts * (len(grid) - 1) + 1) / parts, np.arange(len(grid)), grid)
    rate = period / (float(np.median(np.diff(grid))) * 2 ** max(octave, 0))
    return grid, abs(rate - 1) <= MAX_WARP


def _enter(own: Array, end: float, grid: Array, now: float) -> tuple[float, float, Array]:
    """Where in the phrase to begin, when its next beat is due, and the beats from there on."""
    period = float(np.median(np.diff(grid)))
    due = float(grid[min(int(np.searchsorted(grid, now - MAX_WARP * period)), len(grid) - 1)])
    lead = max(due - now, 0.0)
    later = np.flatnonzero(own >= lead - _ROUNDING)
    if not len(later) or own[later[0]] - lead > _LATEST_ENTRY * end:
        return 0.0, now + float(own[0]), own
    first = int(later[0])
    return max(float(own[first]) - lead, 0.0), due, own[first:]


def _nearest(grid: Array, time: float) -> float:
    at = int(np.clip(np.searchsorted(grid, time), 1, len(grid) - 1))
    before, after = float(grid[at - 1]), float(grid[at])
    return before if time - before <= after - time else after


def _limited(target: float, start: float, span: float) -> float:
    """`target`, or as near to it as playing `span` seconds of the phrase from `start` on may end."""
    return float(np.clip(target, start + span / (1 + MAX_WARP), start + span / (1 - MAX_WARP)))
