"""Time warping: the beats of a phrase are moved onto the beats of a song."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from choreo.motion.skeleton import FPS
from retrieval.library.phrases import Phrase

Array = NDArray[np.float64]

MAX_WARP: Final = 0.15
"""A phrase plays at 1 - MAX_WARP to 1 + MAX_WARP of its original speed."""
MAX_OCTAVES: Final = 2
"""A phrase may have up to four beats to one of the song, and the reverse."""
ROUNDING: Final = 0.55 / FPS
"""Tolerance for beats, seconds: phrases are cut at whole frames, so a closing beat may be half a frame off."""
STEP_SECONDS: Final = 0.25
"""Distance of the knots of a phrase without beats."""


@dataclass(frozen=True)
class Clock:
    """Piecewise-linear map from the timeline to a phrase.

    Attributes:
        song: (n,) seconds on the timeline, ascending.
        phrase: (n,) seconds within the phrase, ascending.
        beat: (n,) number of the phrase's beat at each knot, -1 for a knot that is not on a beat.
    """

    song: Array
    phrase: Array
    beat: NDArray[np.int64]


@dataclass(frozen=True)
class Match:
    """How a phrase fits the beats of a song.

    Attributes:
        own: beats of the phrase, seconds; empty if phrase or song have none.
        end: length of the phrase, seconds.
        grid: beats of the song, seconds, subdivided if the phrase has several to one.
        rate: playback speed at which the phrase has the song's tempo; 1 if it keeps its own.
        locks: whether its beats can be moved onto the song's within `MAX_WARP`.
    """

    own: Array
    end: float
    grid: Array
    rate: float
    locks: bool

    def until_beat(self, now: Array) -> Array:
        """Seconds from `now` to the song's next beat; 0 for a beat that has only just passed."""
        period = float(np.median(np.diff(self.grid)))
        due = np.searchsorted(self.grid, now - MAX_WARP * period)
        return np.maximum(self.grid[np.minimum(due, len(self.grid) - 1)] - now, 0)

    def clock(self, now: float, entry: float) -> Clock:
        """The map that starts `entry` seconds into the phrase, `now` on the timeline, and continues to its end.

        Each beat of the phrase goes to the nearest beat of the song, as far as MAX_WARP permits. A phrase whose tempo
        is too different even after octave folding keeps its speed.
        """
        if not len(self.own):
            within = np.arange(entry + STEP_SECONDS, self.end - STEP_SECONDS / 2, STEP_SECONDS)
            steps = np.concatenate([[entry], within, [self.end]])
            return Clock(now + steps - entry, steps, np.full(len(steps), -1))
        distance = np.abs(self.own - entry)
        knots = [(now, entry, int(np.argmin(distance)) if distance.min() <= ROUNDING else -1)]
        for number in np.flatnonzero(self.own > entry + ROUNDING):
            closing = self.own[number] > self.end - ROUNDING
            beat = self.end if closing else float(self.own[number])
            knots.append((self._due(knots[-1], beat, self.locks), beat, int(number)))
        if knots[-1][1] < self.end - 1e-9:
            knots.append((self._due(knots[-1], self.end, False), self.end, -1))
        song, phrase, beats = zip(*knots, strict=True)
        return Clock(np.array(song), np.array(phrase), np.array(beats))

    def _due(self, knot: tuple[float, float, int], time: float, locks: bool) -> float:
        """Timeline seconds at which `time` of the phrase is due, coming from a knot."""
        start, span = knot[0], time - knot[1]
        due = start + span / self.rate
        if locks:
            due = _nearest(self.grid, due)
        return float(np.clip(due, start + span / (1 + MAX_WARP), start + span / (1 - MAX_WARP)))


def match(phrase: Phrase, grid: Array) -> Match:
    """How a phrase fits the beats of a song, `grid` of `beat_grid`."""
    own, end = np.asarray(phrase.beats, np.float64), phrase.num_frames / FPS
    if len(own) < 2 or len(grid) < 2:
        return Match(np.zeros(0), end, np.zeros(0), 1.0, False)
    period = float(np.median(np.diff(own)))
    octave = round(float(np.log2(period / np.median(np.diff(grid)))))
    octave = int(np.clip(octave, -MAX_OCTAVES, MAX_OCTAVES))
    if octave < 0:
        parts = 2**-octave
        grid = np.interp(np.arange(parts * (len(grid) - 1) + 1) / parts, np.arange(len(grid)), grid)
    rate = period / (float(np.median(np.diff(grid))) * 2 ** max(octave, 0))
    locks = abs(rate - 1) <= MAX_WARP
    return Match(own, end, grid, rate if locks else 1.0, locks)


def beat_grid(beats: ArrayLike, seconds: float) -> Array:
    """Ascending beat times, extrapolated by the median period from before 0 to beyond `seconds`.

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


def _nearest(grid: Array, time: float) -> float:
    at = int(np.clip(np.searchsorted(grid, time), 1, len(grid) - 1))
    before, after = float(grid[at - 1]), float(grid[at])
    return before if time - before <= after - time else after
