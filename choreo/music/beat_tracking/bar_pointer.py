"""Beats and bars that explain activations best: the bar-pointer model (Whiteley, Cemgil and Godsill 2006) in the form
of Krebs, Böck and Widmer (2015), with the observations of Böck, Krebs and Widmer (2016).

A state is a place in a bar and a tempo. The tempo changes at beats only, so a state between two beats has one
predecessor, and what a beat of some length earns is a difference of cumulative sums: the search goes from beat to beat,
over lengths, and its result is that of Viterbi's algorithm over all places in the bar.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.music.compiling import load_kernels

Array = NDArray[np.float64]

METERS: Final = (2, 3, 4)
"""Beats of a bar that are tried; a bar keeps its meter for the whole song."""
MIN_BPM, MAX_BPM = 55.0, 215.0
STEADINESS: Final = 100.0
"""A beat that is longer than the one before by a share x costs this times |x| in log probability."""
ROUNDING: Final = 4.0
"""The most that a beat costs which is a frame longer or shorter: a fast tempo between two lengths alternates them."""
BEAT_SHARE: Final = 16
"""A beat sounds in the first one of so many parts of it."""
_FARTHEST: Final = 0.15
"""Largest change of a beat's length that is considered."""
_TINY: Final = 1e-8


@dataclass(frozen=True)
class Bars:
    """A path through a song.

    Attributes:
        frames: int (n,), frame of each beat, ascending.
        numbers: int (n,), its number in its bar, from 1.
        meter: beats of a bar.
    """

    frames: NDArray[np.int64]
    numbers: NDArray[np.int64]
    meter: int


class BarPointer:
    """The model for activations at some frame rate.

    Args:
        fps: frames per second.
        min_bpm: slowest tempo.
        max_bpm: fastest tempo.
    """

    def __init__(self, fps: float, min_bpm: float = MIN_BPM, max_bpm: float = MAX_BPM) -> None:
        shortest, longest = round(60 * fps / max_bpm), round(60 * fps / min_bpm)
        self._lengths = np.arange(max(shortest, 1), longest + 1)
        self._sounding = -(-self._lengths // BEAT_SHARE)

    def decode(self, activations: NDArray[np.floating]) -> Bars:
        """The likeliest beats of activations (T, 2), probabilities of beat and downbeat; T must be at least 1."""
        sums = _cumulative_log_densities(np.asarray(activations, np.float64))
        starts, sources = self._search(sums, len(activations))
        return self._path(sums, starts, sources)

    def _search(self, sums: Array, frames: int) -> tuple[Array, NDArray[np.uint8]]:
        """Log probability of a beat that starts at a frame by its kind and length (R, kinds, lengths), frame t in row t
        modulo R, of the last R = longest + 1 frames; and the length before it by frame (T, kinds, lengths).

        The first beat may have begun before the song, at a frame below 0.
        """
        rows, num = int(self._lengths[-1]) + 1, len(self._lengths)
        starts = np.full((rows, len(_KINDS), num), -np.inf)
        sources = np.zeros((frames, len(_KINDS), num), np.uint8)
        for index, length in enumerate(self._lengths):
            starts[np.arange(1 - length, 1) % rows, :, index] = self._priors
        near, costs = self._near
        load_kernels().bar_pointer(
            starts, sources, sums, self._lengths, self._sounding, _SUCCESSORS, _IS_PLAIN, near, costs
        )
        return starts, sources

    def _path(self, sums: Array, starts: Array, sources: NDArray[np.uint8]) -> Bars:
        frame, kind, length = self._last(sums, starts, len(sources))
        beats, meter = [], _KINDS[kind][0]
        while frame >= 0:
            beats.append((frame, _KINDS[kind][1]))
            if frame == 0:
                break
            length = int(sources[frame, kind, length])
            frame, kind = frame - int(self._lengths[length]), _PREDECESSORS[kind]
        found = np.array(beats[::-1], np.int64).reshape(-1, 2)
        return Bars(found[:, 0], found[:, 1], meter)

    def _last(self, sums: Array, starts: Array, frames: int) -> tuple[int, int, int]:
        """Start, kind and length of the beat that is under way when the song ends."""
        last = np.arange(frames - len(starts) + 1, frames)
        begin = np.maximum(last, 0)[:, None]
        silent = np.clip(last[:, None] + self._sounding, 0, frames)
        gains = sums[0, frames] - sums[0, silent] + sums[1:, silent] - sums[1:, begin]
        scores = starts[last % len(starts)] + gains[_IS_PLAIN].swapaxes(0, 1)
        over = last[:, None] + self._lengths < frames
        row, kind, length = np.unravel_index(int(np.where(over[:, None], -np.inf, scores).argmax()), scores.shape)
        return int(last[row]), int(kind), int(length)

    @cached_property
    def _priors(self) -> Array:
        """Log probability of each kind of beat at the beginning (kinds,): all places of a bar are equally likely."""
        places = int(self._lengths.sum())
        return np.array([-np.log(meter * places) for meter, _ in _KINDS])

    @cached_property
    def _near(self) -> tuple[NDArray[np.intp], Array]:
        """Lengths that a beat of each length may follow (lengths, W), and what that costs; padded with -inf."""
        lengths = self._lengths.astype(np.float64)
        frames = np.abs(lengths - lengths[:, None])  # (before, after)
        changes = frames / lengths[:, None]
        one_frame = np.minimum(ROUNDING, STEADINESS / lengths)[:, None]
        costs = -np.where(frames <= 1, frames * one_frame, one_frame + STEADINESS * (changes - 1 / lengths[:, None]))
        costs -= np.log(np.exp(costs).sum(1, keepdims=True))
        costs[changes > max(_FARTHEST, 1 / lengths[0])] = -np.inf
        width = int(np.isfinite(costs).sum(0).max())
        near = np.argsort(-costs.T, axis=1, kind="stable")[:, :width]
        return near.astype(np.int64), np.ascontiguousarray(np.take_along_axis(costs.T, near, 1))


_KINDS: Final = tuple((meter, number) for meter in METERS for number in range(1, meter + 1))
"""Kinds of beats: beats of the bar, and number in it."""
_SUCCESSORS: Final = np.array([_KINDS.index((meter, number % meter + 1)) for meter, number in _KINDS])
_PREDECESSORS: Final = tuple(_KINDS.index((meter, (number - 2) % meter + 1)) for meter, number in _KINDS)
_IS_PLAIN: Final = np.array([int(number != 1) for _, number in _KINDS])


def _cumulative_log_densities(activations: Array) -> Array:
    """Sums (3, T + 1) of log densities of nothing, downbeat and beat, up to each frame."""
    beat, downbeat = activations.T
    nothing = np.maximum(1 - beat - downbeat, _TINY) / (BEAT_SHARE - 1)
    logs = np.log(np.maximum([nothing, downbeat, beat], _TINY))
    return np.concatenate([np.zeros((3, 1)), logs.cumsum(1)], 1)
