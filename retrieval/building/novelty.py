"""How much changes at each instant of a recording: Foote's novelty (2000) of its music or of its poses."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import fftconvolve

from choreo.motion import rotations as rot
from choreo.motion.kinematics import heading
from choreo.motion.skeleton import FPS, PELVIS
from choreo.music.features import CHROMA, MFCC, ONSET

Array = NDArray[np.float64]

KERNEL_SECONDS: Final = 3.0
"""Half width of the kernel: so much before an instant is compared with so much after it."""
_SMOOTH_SECONDS: Final = 0.3
_EPS: Final = 1e-9


def novelty(features: NDArray[np.floating], fps: float = FPS) -> Array:
    """Novelty (T,) of features (T, D), columns standardised: 0 if before and after are alike, at most 1.

    The correlation of the features' self-similarity matrix (cosines) with a checkerboard kernel under a Gaussian taper,
    along the diagonal (Foote 2000). The kernel is g(i) sgn(i) g(j) sgn(j) and a cosine is an inner product, so the sum
    over the square is the squared length of one filtered sequence; without the matrix, memory is linear in T.
    """
    x = np.asarray(features, np.float64)
    z = (x - x.mean(0)) / np.maximum(x.std(0), _EPS)
    z = gaussian_filter1d(z, _SMOOTH_SECONDS * fps, axis=0, mode="nearest")
    unit = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), _EPS)
    half = max(1, round(KERNEL_SECONDS * fps))
    offset = np.arange(-half, half) + 0.5
    kernel = np.sign(offset) * np.exp(-2 * (offset / half) ** 2)
    kernel /= np.abs(kernel).sum()
    padded = np.pad(unit, ((half, half), (0, 0)), mode="edge")
    # Reversed, because a convolution runs backwards through its kernel; instant t lies between frames t - 1 and t.
    filtered = fftconvolve(padded, kernel[::-1, None], mode="valid", axes=0)[: len(x)]
    return (filtered**2).sum(1)


def music_novelty(features: NDArray[np.floating]) -> Array:
    """Novelty (T,) of timbre, harmony and onsets of dsp35 features (T, 35) at 30 fps."""
    x = np.asarray(features, np.float64)
    return novelty(np.concatenate([x[:, MFCC], x[:, CHROMA], x[:, [ONSET]]], axis=1))


def pose_novelty(positions: NDArray[np.floating]) -> Array:
    """Novelty (T,) of poses and speeds of positions (T, 22, 3) at 30 fps, invariant to place and heading."""
    p = np.asarray(positions, np.float64)
    body = (p - p[:, [PELVIS]]) @ rot.yaw(heading(p))  # rows times R is the inverse rotation of each point
    speed = np.linalg.norm(np.gradient(p, axis=0), axis=-1) if len(p) > 1 else np.zeros(p.shape[:2])
    return novelty(np.concatenate([body[:, 1:].reshape(len(p), -1), speed, p[:, PELVIS, 1:2]], axis=1))
