"""What BeatNet hears: a logarithmic spectrum of 24 bands an octave, and how it rises.

The parameters are those that its networks were trained with (Heydari, Cwitkowitz and Duan 2021).
"""

import functools
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

SAMPLE_RATE: Final = 22050
HOP: Final = 441
FPS: Final = SAMPLE_RATE // HOP
FRAME: Final = 1411
"""Samples, 64 ms."""
BANDS: Final = 136

_PER_OCTAVE: Final = 24
_LOWEST, _HIGHEST, _REFERENCE = 30.0, 17_000.0, 440.0
_BLOCK: Final = 1024
"""Frames that are transformed at a time."""


def log_spectrum(samples: Array) -> Array:
    """Spectrum and its rise since the frame before, float32 (T, 272) at 50 fps, of mono samples (N,) at 22050 Hz.

    Frame t is centred on sample 441 t; T = ceil(N / 441).
    """
    bands = np.concatenate([*_bands(samples)] or [np.zeros((0, BANDS), np.float32)])
    rise = np.zeros_like(bands)
    np.maximum(bands[1:] - bands[:-1], 0, out=rise[1:])
    return np.concatenate([bands, rise], 1)


def _bands(samples: Array) -> Iterator[Array]:
    """log10(1 + magnitude) of each band, some frames at a time."""
    num_frames = -(-len(samples) // HOP)
    padded = np.pad(samples, (FRAME // 2, FRAME + HOP))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP][:num_frames]
    from scipy.fft import rfft  # NumPy's has no single precision

    window = np.hanning(FRAME).astype(np.float32)
    filters = _filters()
    for first in range(0, num_frames, _BLOCK):
        spectrum = np.abs(rfft(frames[first : first + _BLOCK] * window)[:, : len(filters)])
        yield np.log10(1 + spectrum @ filters)


@functools.lru_cache(maxsize=1)
def _filters() -> Array:
    """Triangles (705 bins, 136 bands) around frequencies in equal ratios, each of sum 1."""
    bins = np.arange(FRAME // 2) * SAMPLE_RATE / (2 * (FRAME // 2))
    low, high = (_PER_OCTAVE * np.log2(edge / _REFERENCE) for edge in (_LOWEST, _HIGHEST))
    wanted = _REFERENCE * 2 ** (np.arange(np.ceil(low), np.floor(high) + 1) / _PER_OCTAVE)
    # Several low frequencies share a bin: one band for each bin.
    corners = np.unique(np.abs(wanted[:, None] - bins).argmin(1))
    filters = np.zeros((len(bins), len(corners) - 2), np.float32)
    for band, (start, centre, stop) in enumerate(zip(corners, corners[1:], corners[2:], strict=False)):
        if stop - start < 2:
            filters[start, band] = 1
            continue
        filters[start:centre, band] = np.linspace(0, 1, centre - start, endpoint=False)
        filters[centre:stop, band] = np.linspace(1, 0, stop - centre, endpoint=False)
    filters /= filters.sum(0)
    filters.setflags(write=False)
    return filters
