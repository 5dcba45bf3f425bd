"""Savitzky-Golay filters (Savitzky and Golay 1964) whose coefficients are kept.

A filter is a few dot products, but SciPy solves least squares for its coefficients, and at both ends of every channel,
at every call: for a clip of some seconds that is most of the time.
"""

import functools

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from scipy.signal import savgol_coeffs, savgol_filter

Array = NDArray[np.float64]


def savitzky_golay(signal: Array, window: int, order: int, deriv: int = 0) -> Array:
    """`scipy.signal.savgol_filter` along the first axis: the value of a polynomial that is fitted to each window.

    Args:
        signal: (T, ...) float64.
        window: odd, at most T.
        order: of the polynomial, below `window`.
        deriv: which derivative, per frame.
    """
    kernel, first, last = coefficients(window, order, deriv)
    out = np.asarray(correlate1d(signal, kernel, axis=0, mode="constant"))
    half = window // 2
    out[:half] = np.tensordot(first, signal[:window], 1)
    out[len(out) - half :] = np.tensordot(last, signal[len(signal) - window :], 1)
    return out


@functools.lru_cache(maxsize=64)
def coefficients(window: int, order: int, deriv: int = 0) -> tuple[Array, Array, Array]:
    """The kernel (window,), and what stands for it at the first and the last frames, (window // 2, window) each."""
    ends = savgol_filter(np.eye(window), window, order, deriv=deriv, axis=0)
    half = window // 2
    kernel = savgol_coeffs(window, order, deriv=deriv, use="dot")
    filters = kernel, ends[:half].copy(), ends[window - half :].copy()
    for array in filters:
        array.setflags(write=False)
    return filters
