"""Warping the beats of a phrase onto the beats of a song."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from choreo.motion.skeleton import FPS
from retrieval.library.phrases import Phrase

Array = NDArray[np.float64]

MAX_WARP: Final = 0.15
"""A phrase plays at 1 - MAX_WARP to 1 + MAX_WARP of its own speed."""
MAX_OCTAVES: Final = 2
"""A phrase may have up to four beats to one of the song, and the reverse."""
ROUNDING: Final = 0.55 / FPS
"""A phrase is cut at whole frames, so its closing beat may lie half a frame before its end, seconds."""


STEP_SECONDS: Final = 0.25
"""Distance of the knots of a phrase without beats."""


@dataclass(frozen=True)
class Clock:
    """Piecewise-linear map from the timeline to a phrase.

    Attributes:
        song: (n,) seconds on the timeline, rising.
        phrase: (n,) seconds within the phrase, rising.
        beat: (n,) which beat of the phrase each knot is, -1 for one that is none.
    """

    song: Array
    phrase: Array
    beat: NDArray[np.int64]


@dataclass(frozen=True)
class Match:
    """A phrase against the beats of a song.

    Attributes:
        own: beats of the phrase, seconds; empty where phrase or song have no grid.
        end: the phrase's length, seconds.
        grid: the song's beats, subdivided if the phrase has several to one, seconds.
        rate: speed at which the phrase is on the song's beats; 1 where it has to keep its own.
        locks: whether its beats can be on the song's.
    """

    own: Array
    end: float
    grid: Array
    rate: float
    locks: bool

    def leads(self, now: Array) -> Array:
        """Seconds from `now` to the song's next beat; 0 for one that has only just passed."""
        period = float(np.median(np.diff(self.grid)))
        due = np.searchsorted(self.grid, now - MAX_WARP * period)
        return np.maximum(self.grid[np.minimum(due, len(self.grid) - 1)] - now, 0)

    def clock(self, now: float, entry: float) -> Clock:
        """The map that begins `entry` seconds into the phrase at `now` on the timeline and goes on to its end.

        Each beat of the phrase goes to the nearest beat of the song, as far as MAX_WARP lets it. A phrase whose tempo
        is too far off even after octave folding keeps its speed.
        """
        if not len(self.own):
            within = np.arange(entry + STEP_SECONDS, self.end - STEP_SECONDS / 2, STEP_SECONDS)
            steps = np.concatenate([[entry], within, [self.end]])
            return Clock(now + steps - entry, steps, np.full(len(steps), -1))
        knots = [(now, entry, int(np.argmin(np.abs(self.own - entry))) if self._on_beat(entry) else -1)]
        for number in np.flatnonzero(self.own > entry + ROUNDING):
            closing = self.own[number] > self.end - ROUNDING
            beat = self.end if closing else float(self.own[number])
            knots.append((self._reached(knots[-1], beat, self.locks), beat, int(number)))
        if knots[-1][1] < self.end - 1e-9:
            knots.append((self._reached(knots[-1], self.end, False), self.end, -1))
        song, phrase, beats = zip(*knots, strict=True)
        return Clock(np.array(song), np.array(phrase), np.array(beats))

    def _on_beat(self, entry: float) -> bool:
        return len(self.own) > 0 and float(np.abs(self.own - entry).min()) <= ROUNDING

    def _reached(self, knot: tuple[float, float, int], time: float, locks: bool) -> float:
        """When `time` of the phrase is due, coming from a knot."""
        start, span = knot[0], time - knot[1]
        due = start + span / self.rate
        if locks:
            due = _nearest(self.grid, due)
        return float(np.clip(due, start + span / (1 + MAX_WARP), start + span / (1 - MAX_WARP)))


def match(phrase: Phrase, grid: Array) -> Match:
    """How a phrase goes with the beats of a song, `grid` from `beat_grid`."""
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


def _nearest(grid: Array, time: float) -> float:
    at = int(np.clip(np.searchsorted(grid, time), 1, len(grid) - 1))
    before, after = float(grid[at - 1]), float(grid[at])
    return before if time - before <= after - time else after
