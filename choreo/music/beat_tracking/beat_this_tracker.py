"""Trackers that hear with Beat This!: its authors' choice of peaks, or the bar-pointer model over its probabilities."""

import threading
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.music.audio import Audio
from choreo.music.beat_tracking.activations import RegularBeats, confidence_of, joined
from choreo.music.beat_tracking.beat_this import BeatThis
from choreo.music.beat_tracking.beat_this_spectrum import FPS, HOP, SAMPLE_RATE, log_mel
from choreo.music.beat_tracking.beats import NO_BEATS, Beats
from choreo.music.level import frame_levels, stretches_of_sound

NEAR: Final = 3
"""Frames on either side, 60 ms, in which a peak is the largest."""
Array = NDArray[np.float32]


class BeatThisTracker:
    """Beats where the network's logits peak, in any meter and at any tempo: the authors' minimal post-processing.

    Thread-safe; the network is loaded at the first use.

    Args:
        regular: find beats of slowly changing length in bars of two, three or four instead, as `beatnet` does.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, regular: bool = False) -> None:
        self.name = "beat_this_bars" if regular else "beat_this"
        self._regular = RegularBeats(FPS) if regular else None
        self._lock = threading.Lock()
        self._network: BeatThis | None = None

    def track(self, audio: Audio) -> Beats:
        """Beats of a song; stretches between two silences of a second or more are looked at by themselves.

        Raises:
            MissingDependency: `CHOREO_BEAT_THIS` names no file, or there is no ONNX Runtime.
            InvalidArtifact: the file is not that of the network.
            NonFiniteOutput: the network answers NaN or infinity.
        """
        samples = audio.at(SAMPLE_RATE).samples
        stretches = stretches_of_sound(frame_levels(samples, SAMPLE_RATE, HOP), FPS)
        if not stretches:
            return NO_BEATS
        logits = self._loaded().logits(log_mel(samples))
        if self._regular is not None:
            return self._regular.find(_activations(logits), stretches)
        return joined([_beats(logits[stretch], stretch.start) for stretch in stretches])

    def _loaded(self) -> BeatThis:
        with self._lock:
            if self._network is None:
                self._network = BeatThis.given()
            return self._network


def peaks(logits: Array) -> NDArray[np.float64]:
    """Frames (n,) at which logits (T,), T at least 1, are above 0 and largest within 3 frames.

    Of equal neighbours the mean is taken.
    """
    padded = np.pad(logits, NEAR, constant_values=-np.inf)
    largest = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEAR + 1).max(-1)
    found = np.flatnonzero((logits == largest) & (logits > 0))
    groups = np.split(found, np.flatnonzero(np.diff(found) > 1) + 1)
    return np.array([group.mean() for group in groups if len(group)])


def numbered(beats: NDArray[np.float64], downbeats: NDArray[np.float64]) -> tuple[NDArray[np.int64], int]:
    """Number in its bar of each beat (n,), and the meter, from frames of beats (n,) and downbeats (m,).

    A downbeat belongs to the nearest beat. The meter is the commonest number of beats of a bar; with fewer than two
    bars it and the numbers are 0. A pickup ends with the last beat of the first bar; one that is longer than that bar
    counts from 2, since nothing says where its bars begin.
    """
    first = np.unique(np.abs(beats - downbeats[:, None]).argmin(1)) if len(downbeats) else np.zeros(0, np.int64)
    if len(first) < 2:
        return np.zeros(len(beats), np.int64), 0
    bars = np.diff(first)
    places = np.arange(len(beats))
    bar = np.searchsorted(first, places, side="right") - 1
    pickup = int(first[0])
    begin = bars[0] - pickup + 1 if pickup < bars[0] else 2
    numbers = np.where(bar < 0, begin + places, 1 + places - first[np.maximum(bar, 0)])
    return numbers, int(np.bincount(bars).argmax())


def _beats(logits: Array, start: int) -> Beats:
    """Beats of a stretch (T, 2) that begins at a frame of the song."""
    frames = peaks(logits[:, 0])
    if len(frames) < 2:  # a single one is no rhythm
        return NO_BEATS
    numbers, meter = numbered(frames, peaks(logits[:, 1]))
    likelihoods = _sigmoid(logits[:, 0])
    nearest = np.rint(frames).astype(np.int64)
    strengths = likelihoods[nearest].astype(np.float64)
    return Beats((frames + start) / FPS, numbers, strengths, confidence_of(strengths, likelihoods, nearest), meter)


def _activations(logits: Array) -> Array:
    """Probabilities (T, 2) of a beat that is no downbeat, and of a downbeat: to the network a downbeat is both."""
    beat, downbeat = _sigmoid(logits).T
    return np.stack([np.maximum(beat - downbeat, 0), downbeat], axis=1)


def _sigmoid(logits: Array) -> Array:
    out: Array = 0.5 + 0.5 * np.tanh(0.5 * logits)
    return out
