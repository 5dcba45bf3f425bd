"""A recording's music as a whole in 30 numbers: timbre, density and sharpness of onsets, and metre."""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from choreo.errors import InvalidInput
from choreo.motion.skeleton import FPS
from choreo.music.features import DSP_DIM, MFCC, ONSET, ONSET_PEAK

Array = NDArray[np.float64]

_COEFFICIENTS: Final = 12
TIMBRE: Final = tuple(f"mfcc_{i}_{kind}" for kind in ("mean", "std") for i in range(1, _COEFFICIENTS + 1))
"""Names of the timbre numbers."""
PATTERN: Final = (
    "onset_density", "percussiveness", "accent_duple", "accent_triple", "timbre_duple", "timbre_triple",
)  # fmt: skip
"""Names of the rhythm pattern numbers."""
SUMMARY: Final = TIMBRE + PATTERN
"""Names of the numbers of `song_summary`, in order."""

FOLDED_PERIOD: Final = (0.4, 0.8)
"""Range of the beat period after halving and doubling, seconds: beat trackers disagree on the octave of a tempo."""
_STEPS: Final = 8
"""Samples per folded beat of the envelopes whose autocorrelation is measured."""
_MAX_LAG: Final = 4
_MAX_FEATURE: Final = 1e6


def song_summary(features: NDArray[np.floating], beats: ArrayLike) -> tuple[float, ...]:
    """The numbers named in `SUMMARY` of a recording's music.

    * Means and deviations of MFCC 1 to 12; coefficient 0 is loudness, which depends on the recording level.
    * Onset peaks per second, and percussiveness: mean change of loudness from frame to frame over its deviation.
    * Metre: autocorrelation, in musical time, of onset strength (accent) and of MFCC 0 to 12 (timbre). Duple is the
      mean at lags of 2 and 4 beats, triple the value at 3 beats minus duple: positive for a waltz. Beats are those of
      the tempo folded into `FOLDED_PERIOD`; zeros if there are too few.

    Args:
        features: (T, 35) of `choreo.music.features.dsp35`, not normalised, at 30 fps; T >= 1.
        beats: seconds from the first frame; may be empty.
    Raises:
        InvalidInput: features of another shape, or NaN or infinity in them.
    """
    x = np.asarray(features, np.float64)
    if x.ndim != 2 or x.shape[1] != DSP_DIM or not len(x):
        raise InvalidInput("features", f"must have shape (T, {DSP_DIM}) with T >= 1, got {x.shape}")
    if not np.isfinite(x).all():
        raise InvalidInput("features", "hold NaN or infinity")
    x = np.clip(x, -_MAX_FEATURE, _MAX_FEATURE)
    onset, loudness = x[:, ONSET], x[:, MFCC.start]
    timbre = x[:, MFCC][:, : _COEFFICIENTS + 1]
    grid = _folded_grid(beats, len(x) / FPS)
    change, spread = np.abs(np.diff(loudness)).mean() if len(x) > 1 else 0.0, loudness.std()
    values = (
        *timbre[:, 1:].mean(0),
        *timbre[:, 1:].std(0),
        np.count_nonzero(x[:, ONSET_PEAK] > 0.5) * FPS / len(x),
        change / spread if spread > 1e-9 else 0.0,
        *_repetition(onset[:, None], grid),
        *_repetition(timbre, grid),
    )
    return tuple(round(float(value), 6) for value in values)


def _folded_grid(beats: ArrayLike, seconds: float) -> Array:
    """Times in seconds, `_STEPS` per beat of the folded tempo; empty if there are too few beats."""
    times = np.asarray(beats, np.float64).reshape(-1)
    times = np.unique(times[np.isfinite(times) & (times >= 0) & (times < seconds)])
    if len(times) < _MAX_LAG + 2:
        return np.zeros(0)
    period = float(np.median(np.diff(times)))
    # At most two octaves: anything farther off is no tempo.
    octaves = int(np.clip(np.ceil(np.log2(FOLDED_PERIOD[0] / period)), -2, 2))
    steps = _STEPS / 2.0**octaves
    return np.interp(np.arange(0, len(times) - 1, 1 / steps), np.arange(len(times)), times)


def _repetition(channels: Array, grid: Array) -> tuple[float, float]:
    """Mean autocorrelation of channels (T, C) at 2 and 4 folded beats, and how much higher it is at 3."""
    if len(grid) <= 2 * _MAX_LAG * _STEPS:
        return 0.0, 0.0
    at = np.arange(len(channels)) / FPS
    sampled = np.stack([np.interp(grid, at, channel) for channel in channels.T], axis=1)
    spread = sampled.std(0)
    sampled = (sampled - sampled.mean(0)) / np.maximum(spread, 1e-9) * (spread > 1e-9)
    two, three, four = (float((sampled[n * _STEPS :] * sampled[: -n * _STEPS]).mean()) for n in (2, 3, _MAX_LAG))
    return float(np.clip((two + four) / 2, -2, 2)), float(np.clip(three - (two + four) / 2, -2, 2))
