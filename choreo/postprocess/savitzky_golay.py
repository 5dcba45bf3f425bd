"""Savitzky-Golay filters (Savitzky and Golay 1964) with cached coefficients.

SciPy solves least-squares problems for the coefficients, and for both ends of every channel, at every call; for a clip
of a few seconds that takes most of the time.
"""

import functools

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from scipy.signal import savgol_coeffs, savgol_filter

Array = NDArray[np.float64]


def savitzky_golay(signal: Array, window: int, order: int, deriv: int = 0) -> Array:
    """`scipy.signal.savgol_filter` along the first axis: a polynomial fitted to each window, taken at its middle.

    Args:
        signal: (T, ...) float64.
        window: length in frames, odd and at most T.
        order: of the polynomial, below `window`.
        deriv: order of the derivative, per frame.
    Returns:
        (T, ...).
    """
    kernel, first, last = coefficients(window, order, deriv)
    out = np.asarray(correlate1d(signal, kernel, axis=0, mode="constant"))
    half = window // 2
    out[:half] = np.tensordot(first, signal[:window], 1)
    out[len(out) - half :] = np.tensordot(last, signal[len(signal) - window :], 1)
    return out


@functools.lru_cache(maxsize=64)
def coefficients(window: int, order: int, deriv: int = 0) -> tuple[Array, Array, Array]:
    """The kernel (window,), and its replacements for the first and the last frames, (window // 2, window) each."""
    ends = savgol_filter(np.eye(window), window, order, deriv=deriv, axis=0)
    half = window // 2
    kernel = savgol_coeffs(window, order, deriv=deriv, use="dot")
    filters = kernel, ends[:half].copy(), ends[window - half :].copy()
    for array in filters:
        array.setflags(write=False)
    return filters
