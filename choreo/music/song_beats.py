"""The beats of a song and how sure they are, for stages that move motion by them."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter1d

from choreo.music.audio import FRAME_RATE

Array = NDArray[np.float64]

SURE: Final = 0.3
"""Confidence from which a beat counts as sure: speech and drones stay below .1, songs with drums reach .4 to .9."""
_WINDOW_S: Final = 12.0
"""Length of the part of a song by which a beat is judged."""


def _no_times() -> Array:
    return np.zeros(0)


@dataclass(frozen=True)
class SongBeats:
    """Beats of the song that a motion is danced to.

    Attributes:
        times: float64 (n,), seconds from the first frame of the motion, ascending.
        confidence: float64 (n,), 0 to 1.
    """

    times: Array = field(default_factory=_no_times)
    confidence: Array = field(default_factory=_no_times)

    @property
    def sure(self) -> Array:
        """Times of the beats that are sure, (m,)."""
        return self.times[self.confidence >= SURE]

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return self.times.nbytes + self.confidence.nbytes


NO_BEATS: Final = SongBeats()


def given_beats(times: ArrayLike) -> SongBeats:
    """Beats that the caller named: all are sure."""
    beats = np.asarray(times, np.float64).reshape(-1)
    return SongBeats(beats, np.ones(len(beats)))


def heard_beats(times: ArrayLike, onset: NDArray[np.floating]) -> SongBeats:
    """Beats that a tracker found, with the clarity of the pulse around each as its confidence.

    Pulse clarity is the autocorrelation of the onset strength at one or two beats, whichever is larger (Lartillot et
    al. 2008, "Multi-feature modeling of pulse clarity"), in the twelve seconds around the beat. A tracker puts beats
    on onsets of speech as well, so that the strength at the beats themselves says little.

    Args:
        times: beats (n,) in seconds, ascending.
        onset: onset strength (T,) at 30 fps.
    """
    beats = np.asarray(times, np.float64).reshape(-1)
    if len(beats) < 3 or len(onset) < 3:
        return SongBeats(beats, np.zeros(len(beats)))
    period = float(np.median(np.diff(beats))) * FRAME_RATE
    lags = {round(beat_count * period) + shift for beat_count in (1, 2) for shift in (-1, 0, 1)}
    clarity = np.zeros(len(beats))
    for lag in lags:
        if 0 < lag < len(onset):
            clarity = np.maximum(clarity, _autocorrelation(np.asarray(onset, np.float64), lag, beats * FRAME_RATE))
    return SongBeats(beats, np.minimum(clarity, 1.0))


def _autocorrelation(onset: Array, lag: int, at: Array) -> Array:
    """Normalised autocorrelation at a lag in frames, in the window around each of the frames `at`."""
    window = min(round(_WINDOW_S * FRAME_RATE), len(onset) - lag)
    level = onset - uniform_filter1d(onset, min(round(_WINDOW_S * FRAME_RATE), len(onset)))
    early, late = level[:-lag], level[lag:]
    product, first, second = (uniform_filter1d(values, window) for values in (early * late, early**2, late**2))
    energy = np.sqrt(np.maximum(first * second, 0))
    found = np.divide(product, energy, out=np.zeros_like(product), where=energy > 1e-9)
    return np.asarray(np.interp(at - lag / 2, np.arange(len(found)), found), np.float64)
