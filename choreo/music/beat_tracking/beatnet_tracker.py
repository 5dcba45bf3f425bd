"""The default tracker: BeatNet's networks, and the bar-pointer model over what they hear."""

import threading
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.music.audio import Audio
from choreo.music.beat_tracking.bar_pointer import BarPointer
from choreo.music.beat_tracking.beatnet import BeatNet
from choreo.music.beat_tracking.beats import NO_BEATS, Beats
from choreo.music.beat_tracking.spectrum import FPS, HOP, SAMPLE_RATE, log_spectrum
from choreo.music.level import frame_levels, stretches_of_sound

HEARD: Final = 0.05
"""Probability of a beat below which nothing was heard: a stretch begins and ends with what exceeds it."""
_NEAR: Final = 2
"""Frames around a beat of the model in which the activation has its peak."""


class BeatNetTracker:
    """Beats, their numbers in the bar and how sure they are. Thread-safe; the weights are loaded at the first use."""

    name = "beatnet"
    sample_rate = SAMPLE_RATE

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._network: BeatNet | None = None
        self._model = BarPointer(FPS)

    def track(self, audio: Audio) -> Beats:
        """Beats of a song; every stretch between two silences of a second or more has its own meter and tempo.

        Raises:
            MissingDependency: the weights are missing.
        """
        samples = audio.at(SAMPLE_RATE).samples
        stretches = stretches_of_sound(frame_levels(samples, SAMPLE_RATE, HOP), FPS)
        if not stretches:
            return NO_BEATS
        activations = self._loaded().activations(log_spectrum(samples))
        either = activations.sum(1)
        return _joined([self._stretch(activations, either, stretch) for stretch in stretches])

    def _loaded(self) -> BeatNet:
        with self._lock:
            if self._network is None:
                self._network = BeatNet.shipped()
            return self._network

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
        between = np.ones(end - first, bool)
        for offset in range(-_NEAR, _NEAR + 1):
            between[np.clip(bars.frames + offset, 0, end - first - 1)] = False
        rest = float(either[first:end][between].mean()) if between.any() else 0.0
        confidence = max(float(strengths.mean()) - rest, 0.0)
        return Beats(frames / FPS, bars.numbers, strengths, confidence, bars.meter)


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


def _joined(stretches: list[Beats]) -> Beats:
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
