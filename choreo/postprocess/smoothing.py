"""Smoothing that removes jitter and keeps accents.

A plain low-pass filter cannot do both: one that halves white noise at 30 fps also damps movement above about 3 Hz, and
with it the stops and accents that put a dance on the beat. So zero-phase Savitzky-Golay filters (Savitzky and Golay
1964) split the signal into a slow part and bands of detail, and each band is scaled over time by the Wiener gain
1 - noise / energy: a band is dropped while it contains little more than noise, and kept while an accent fills it. The
noise level is estimated from the third differences of the signal itself, so clean motion passes almost unchanged.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from choreo.motion import rotations as rot
from choreo.motion.skeleton import FPS
from choreo.postprocess.savitzky_golay import coefficients, savitzky_golay

Array = NDArray[np.float64]

FILTERS: Final[tuple[tuple[int, int], ...]] = ((5, 2), (11, 3))
"""(window in frames at 30 fps, polynomial order) of the filters, light to heavy. The light one passes 98.8 % of the
amplitude at 3 Hz and 70 % of white noise, the heavy one 46 % of white noise."""
ENERGY_WINDOW: Final = 15
"""Frames at 30 fps over which the energy of a band is averaged."""
NOISE_MARGIN: Final = 1.5
"""Energy below this multiple of the expected noise energy counts as noise only."""


def smooth(signal: NDArray[np.floating], fps: float = FPS) -> Array:
    """Remove jitter from vector signals (T, K, D); each of the K vectors has its own gains, equal for its D channels.

    Commutes with rotations and translations of the D-dimensional vectors. Fewer than four frames are returned as they
    are.

    Args:
        signal: (T, K, D), any unit.
        fps: frames per second.
    """
    out = np.asarray(signal, np.float64)
    if len(out) < 4:
        return out.copy()
    noise = _noise_variance(out)
    detail = np.zeros_like(out)
    identity, above = np.ones(1), out
    for frames, order in FILTERS:
        window = _window(frames, fps, len(out), at_least=order + 2)
        if window <= order + 1:
            break
        below = savitzky_golay(out, window, order)
        kernel = coefficients(window, order)[0]
        band = above - below
        detail += _wiener_gain(band, noise * _energy_of_difference(identity, kernel), fps) * band
        identity, above = kernel, below
    return above + detail


def smooth_pose(root: NDArray[np.floating], world: NDArray[np.floating], fps: float = FPS) -> tuple[Array, Array]:
    """Smooth root positions (T, 3) and world rotations (T, 22, 3, 3).

    Rotations are filtered in their six-dimensional form (Zhou et al. 2019). World rotations are used because joint
    positions are linear in them: the noise of consecutive bones, which share end points, then cancels as it does in the
    positions instead of accumulating.
    """
    return smooth(np.asarray(root)[:, None], fps)[:, 0], rot.from_six(smooth(rot.to_six(world), fps))


def _window(frames: int, fps: float, available: int, at_least: int = 3) -> int:
    """Odd window of the same duration at `fps`: at least `at_least` frames unless the signal is shorter."""
    wanted = max(2 * round(frames * fps / FPS / 2 - 0.5) + 1, at_least + 1 - at_least % 2)
    return min(wanted, available - 1 + available % 2)


def _noise_variance(signal: Array) -> Array:
    """Per-channel variance (K,) of the white noise in (T, K, D), from the median energy of third differences.

    The third difference of white noise has 1 + 9 + 9 + 1 = 20 times its variance, while slow motion almost cancels; the
    median is robust to accents. (1 - 2 / 9D)^3 is the median of chi^2_D over its mean (Wilson and Hilferty 1931).
    """
    channels = signal.shape[-1]
    energy = (np.diff(signal, n=3, axis=0) ** 2).sum(-1)
    return np.median(energy, axis=0) / (20 * channels * (1 - 2 / (9 * channels)) ** 3)


def _energy_of_difference(a: Array, b: Array) -> float:
    """Squared norm of the difference of two centred kernels: the noise gain of their band."""
    wide = b.copy()
    middle = len(b) // 2
    wide[middle - len(a) // 2 : middle + len(a) // 2 + 1] -= a
    return float((wide**2).sum())


def _wiener_gain(band: Array, noise: Array, fps: float) -> Array:
    """Wiener gain (T, K, 1) in [0, 1] of a band (T, K, D) with per-channel noise variance (K,)."""
    window = _window(ENERGY_WINDOW, fps, len(band))
    energy = uniform_filter1d((band**2).mean(-1), window, axis=0, mode="nearest")
    return np.clip(1 - NOISE_MARGIN * noise / np.maximum(energy, 1e-18), 0, 1)[..., None]
