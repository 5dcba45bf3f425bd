"""What Beat This! hears: log(1 + 1000 x) of 128 mel bands, as it was trained with (Foscarin et al. 2024)."""

import functools
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.music.compiling import load_librosa

Array = NDArray[np.float32]

SAMPLE_RATE: Final = 22050
HOP: Final = 441
FPS: Final = SAMPLE_RATE // HOP
FRAME: Final = 1024
"""Samples, 46 ms."""
BANDS: Final = 128

_LOWEST, _HIGHEST = 30.0, 11_000.0
_GAIN: Final = np.float32(1000)
_BLOCK: Final = 2048
"""Frames that are transformed at a time."""


def log_mel(samples: Array) -> Array:
    """Spectrum float32 (T, 128) at 50 fps of mono samples (N,) at 22050 Hz, N at least 2.

    Frame t is centred on sample 441 t; T = N // 441 + 1. The song is mirrored at its ends.
    """
    return np.concatenate(list(_blocks(samples)))


def _blocks(samples: Array) -> Iterator[Array]:
    from scipy.fft import rfft  # NumPy's has no single precision

    padded = np.pad(samples, FRAME // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    # The transform is normalised by the square root of its length.
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)) / np.sqrt(FRAME)
    window, filters = hann.astype(np.float32), _filters()
    for first in range(0, len(frames), _BLOCK):
        yield np.log1p(_GAIN * (np.abs(rfft(frames[first : first + _BLOCK] * window)) @ filters))


@functools.lru_cache(maxsize=1)
def _filters() -> Array:
    """Triangles (513 bins, 128 bands) of height 1 on Slaney's mel scale."""
    bands = load_librosa().filters.mel(
        sr=SAMPLE_RATE, n_fft=FRAME, n_mels=BANDS, fmin=_LOWEST, fmax=_HIGHEST, norm=None
    )
    filters: Array = np.ascontiguousarray(bands.T)
    filters.setflags(write=False)
    return filters
