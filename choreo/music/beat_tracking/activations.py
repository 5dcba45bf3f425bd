"""Beats of a song from the probabilities that a network gives, stretch of sound by stretch."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.music.beat_tracking.bar_pointer import BarPointer
from choreo.music.beat_tracking.beats import NO_BEATS, Beats

HEARD: Final = 0.05
"""Probability of a beat below which nothing was heard: a stretch begins and ends with what exceeds it."""
_NEAR: Final = 2
"""Frames around a beat in which the probability has its peak."""


class RegularBeats:
    """Beats of slowly changing length by the bar-pointer model, put where the probabilities peak.

    Args:
        fps: frames per second of the probabilities.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._model = BarPointer(fps)

    def find(self, activations: NDArray[np.float32], stretches: Sequence[slice]) -> Beats:
        """Beats within stretches of sound, each of its own meter and tempo.

        Args:
            activations: (T, 2), probability of a beat that is no downbeat, and of a downbeat.
            stretches: frames of each.
        """
        either = activations.sum(1)
        return joined([self._stretch(activations, either, stretch) for stretch in stretches])

    def _stretch(self, activations: NDArray[np.float32], either: NDArray[np.float32], stretch: slice) -> Beats:
        """Beats between two silences; `either` (T,) is the probability of a beat of any kind, over the whole song."""
        heard = np.flatnonzero(either[stretch] >= HEARD)
        if len(heard) < 2:
            return NO_BEATS
        first, end = stretch.start + int(heard[0]), stretch.start + int(heard[-1]) + 1
        bars = self._model.decode(activations[first:end])
        if len(bars.frames) < 2:  # a single one is no rhythm
            return NO_BEATS
        frames, strengths = _peaks(either, bars.frames + first)
        confidence = confidence_of(strengths, either[first:end], bars.frames)
        return Beats(frames / self._fps, bars.numbers, strengths, confidence, bars.meter)


def confidence_of(strengths: NDArray[np.floating], either: NDArray[np.floating], frames: NDArray[np.int64]) -> float:
    """Mean strength of beats (n,), less the mean probability (T,) of a beat away from their frames (n,); 0 to 1."""
    between = np.ones(len(either), bool)
    for offset in range(-_NEAR, _NEAR + 1):
        between[np.clip(frames + offset, 0, len(either) - 1)] = False
    rest = float(either[between].mean()) if between.any() else 0.0
    return max(float(strengths.mean()) - rest, 0.0)


def joined(stretches: Sequence[Beats]) -> Beats:
    """Beats of several stretches as one; meter and confidence are those of the one with most beats, and of all."""
    found = [stretch for stretch in stretches if len(stretch.times)]
    if not found:
        return NO_BEATS
    counts = [len(stretch.times) for stretch in found]
    times = np.concatenate([stretch.times for stretch in found])
    numbers = np.concatenate([stretch.numbers for stretch in found])
    strengths = np.concatenate([stretch.strengths for stretch in found])
    confidence = float(np.average([stretch.confidence for stretch in found], weights=counts))
    return Beats(times, numbers, strengths, confidence, found[int(np.argmax(counts))].meter)


def _peaks(
    activations: NDArray[np.float32], frames: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where activations (T,) peak near each frame (n,), between frames by a parabola, and how high: (n,) each."""
    padded = np.pad(activations, _NEAR + 1).astype(np.float64)
    near = padded[frames[:, None] + np.arange(1, 2 * _NEAR + 2)]
    peak = frames + near.argmax(1) + 1  # in the padded array
    before, at, after = padded[peak - 1], padded[peak], padded[peak + 1]
    bend = before - 2 * at + after
    shift = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, 1), 0)
    return np.maximum(peak - _NEAR - 1 + np.clip(shift, -0.5, 0.5), 0), at
