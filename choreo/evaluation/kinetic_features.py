"""Kinetic motion features: horizontal energy, vertical energy and expenditure of each joint.

Onuma et al. 2008 as implemented in fairmotion, on which AIST++, Bailando, EDGE and Lodge report FID_k and Dist_k. Per
joint: mean squared horizontal speed, mean squared vertical speed, mean magnitude of the acceleration; velocity and
acceleration vectors are averaged over a sliding window first. y is up.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.evaluation.checks import Array, frame_rate, moving_with_hands
from choreo.evaluation.published_rate import AIST_FPS, at_60_fps
from choreo.motion.skeleton import FPS, PELVIS

WINDOW: Final = 2
"""Frames on either side of the sliding window, at 60 fps."""
FRAME_TIME: Final = 1 / AIST_FPS
WRISTS: Final = [20, 21]


def kinetic_features(positions: NDArray[Any], fps: float = FPS, legacy: bool = False) -> Array:
    """Features (3 J,) of one motion: horizontal energy, vertical energy, expenditure of joint 0, then of joint 1, ...

    Motion at other rates is resampled to 60 fps by cubic splines.

    Args:
        positions: (T, 22, 3) or (T, 24, 3) metres.
        fps: frames per second.
        legacy: reproduce the published code, for comparison with published tables only. It divides just one of the two
            positions of a velocity by the frame time, so its expenditure is dominated by the distance from the origin
            rather than by acceleration; the motion is therefore moved to start there, as for the published scores.
    Raises:
        InvalidInput: wrong shape, NaN, infinity, or fewer than two frames.
    """
    p = at_60_fps(moving_with_hands(positions), frame_rate(fps))
    frames = len(p) - 1
    velocity = _window_mean(np.diff(p, axis=0) / FRAME_TIME, frames)
    horizontal = (velocity[..., [0, 2]] ** 2).sum(axis=-1).mean(axis=0)
    vertical = (velocity[..., 1] ** 2).mean(axis=0)
    steps = _legacy_accelerations(p) if legacy else np.diff(p, n=2, axis=0) / FRAME_TIME**2
    expenditure = np.linalg.norm(_window_mean(steps, frames), axis=-1).mean(axis=0)
    return np.stack([horizontal, vertical, expenditure], axis=1).reshape(-1)


def with_hands(positions: NDArray[Any]) -> Array:
    """SMPL-22 (T, 22, 3) as SMPL-24 (T, 24, 3), each hand at its wrist, as published for skeletons without hands."""
    p = moving_with_hands(positions)
    return p if p.shape[1] > 22 else np.concatenate([p, p[:, WRISTS]], axis=1)


def _window_mean(values: Array, frames: int) -> Array:
    """Mean of the existing entries among m - 2 ... m + 2, for m in 0 ... frames - 1; 0 where none exists."""
    sums = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])
    middle = np.arange(frames)
    first = np.clip(middle - WINDOW, 0, len(values))
    last = np.clip(middle + WINDOW + 1, 0, len(values))
    count = np.maximum(last - first, 1).reshape(-1, 1, 1)
    return np.asarray((sums[last] - sums[first]) / count)


def _legacy_accelerations(p: Array) -> Array:
    p = p - p[0, PELVIS]
    after = (p[2:] - p[1:-1]) / FRAME_TIME
    before = p[1:-1] - p[:-2] / FRAME_TIME
    return np.asarray((after - before) / FRAME_TIME)
