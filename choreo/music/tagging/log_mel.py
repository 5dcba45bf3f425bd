"""The logarithmic mel spectrum that musicnn was trained with (Pons and Serra 2019): log10(1 + 10000 power)."""

import functools
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.music.compiling import load_librosa

Array = NDArray[np.float32]

SAMPLE_RATE: Final = 16_000
HOP: Final = 256
FRAME: Final = 512
"""Samples, 32 ms."""
BANDS: Final = 96

_GAIN: Final = np.float32(10_000)
_BLOCK: Final = 4096
"""Frames that are transformed at a time."""


def log_mel(samples: Array) -> Array:
    """Spectrum float32 (T, 96) of mono samples (N,) at 16 kHz; frame t is centred on sample 256 t, T = N // 256 + 1."""
    return np.concatenate(list(_blocks(samples)))


def _blocks(samples: Array) -> Iterator[Array]:
    from scipy.fft import rfft  # NumPy's has no single precision

    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, FRAME // 2), FRAME)[::HOP]
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)).astype(np.float32)
    filters = _filters()
    for first in range(0, len(frames), _BLOCK):
        power = np.abs(rfft(frames[first : first + _BLOCK] * window)) ** 2
        yield np.log10(1 + _GAIN * (power @ filters))


@functools.lru_cache(maxsize=1)
def _filters() -> Array:
    """Triangles (257 bins, 96 bands) on Slaney's mel scale, each of area 1."""
    filters: Array = np.ascontiguousarray(load_librosa().filters.mel(sr=SAMPLE_RATE, n_fft=FRAME, n_mels=BANDS).T)
    filters.setflags(write=False)
    return filters
