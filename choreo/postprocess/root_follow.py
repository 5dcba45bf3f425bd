"""The root follows the foot that carries the body, so that this foot stays where it was put.

A network errs in the root's velocity by more than in the pose, and the whole body then slides. The horizontal
correction d of the root solves a linear least-squares problem per axis: where a foot carries, d' cancels its velocity;
where none does, d' is 0; d'' is small, so that nothing jerks; and d itself is small over seconds, so that the dancer
still travels where the network had them go.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded

from choreo.motion.skeleton import FPS, LEGS
from choreo.postprocess.contacts import FLAT_HEIGHTS

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

TRAVEL_SECONDS: Final = 0.5
"""Corrections that last longer than this are given up for travel."""
STIFF_SECONDS: Final = 0.08
"""Corrections that change within less than this are smoothed."""
FREE_WEIGHT: Final = 0.05
"""Weight of the root's own velocity where no foot carries, and beside one that does."""
STILL: Final = 0.2
"""Of two feet that carry, one that moves faster than this counts less, m/s."""
GLIDE: Final = 1.0
"""A foot that carries and moves faster than this counts less: it glides on purpose, m/s."""
CREEP: Final = 0.4
"""A foot that carries and moves more slowly than this rolls, or is held by the foot lock, m/s."""
LOW: Final = 0.06
"""A joint of the foot this far over its flat height does not say where the foot is, metres."""
FIXED: Final = 1e6
"""Weight of a correction of 0 in given frames."""
_JOINTS: Final = np.array([[ankle, toe] for _, _, ankle, toe in LEGS])
_FLAT: Final = FLAT_HEIGHTS.reshape(2, 2).T


def follow_support(positions: Array, support: Bools, fps: float = FPS, given: Bools | None = None) -> Array:
    """Horizontal shift (T, 3) of the body that holds the feet that carry it, metres.

    Args:
        positions: (T, 22, 3) metres, floor at y = 0.
        support: (T, 2) which feet, left and right, carry.
        fps: frames per second.
        given: (T,) frames that must not move; their shift is 0.
    """
    frames = len(positions)
    shift = np.zeros((frames, 3))
    if frames < 3:
        return shift
    slip, weight = _slip(positions, support)
    speed = np.hypot(slip[:, 0], slip[:, 1]) * fps
    weight = weight / (1 + (speed / GLIDE) ** 4)
    slip = slip * (speed**2 / (speed**2 + CREEP**2))[:, None]
    held = np.zeros(frames, bool) if given is None else given.copy()
    held[0] = True  # the dancer begins where the motion does
    bands = _normal_equations(weight + FREE_WEIGHT, held, fps)
    right = np.zeros((frames, 2))
    right[1:] -= weight[:, None] * slip
    right[:-1] += weight[:, None] * slip
    shift[:, [0, 2]] = solveh_banded(bands, right, lower=True)
    shift[held] = 0
    return shift


def _slip(positions: Array, support: Bools) -> tuple[Array, Array]:
    """Movement (T - 1, 2) of what carries the body, metres per frame, and how sure it is (T - 1,), from 0 to 1."""
    joints = positions[:, _JOINTS]
    step = np.diff(joints[..., [0, 2]], axis=0)
    height = (joints[1:, ..., 1] + joints[:-1, ..., 1]) / 2 - _FLAT
    carries = (support[1:] & support[:-1]).astype(np.float64)[..., None]
    down = carries * np.clip(1 - height / LOW, 0, 1)
    still = down / (STILL**2 / FPS**2 + (step**2).sum(axis=-1))
    share = still / np.maximum(still.sum(axis=(1, 2), keepdims=True), 1e-9)
    return (share[..., None] * step).sum(axis=(1, 2)), np.minimum(down.max(axis=(1, 2)) * 1.5, 1)


def _normal_equations(weight: Array, given: Bools, fps: float) -> Array:
    """Lower bands (3, T) of the matrix of the least-squares problem; `weight` (T - 1,) is that of each step."""
    frames = len(given)
    bands = np.zeros((3, frames))
    bands[0] = 1 / (TRAVEL_SECONDS * fps) ** 2
    bands[0, :-1] += weight
    bands[0, 1:] += weight
    bands[1, :-1] -= weight
    stiff = (STIFF_SECONDS * fps) ** 2
    bands[0, :-2] += stiff
    bands[0, 1:-1] += 4 * stiff
    bands[0, 2:] += stiff
    bands[1, :-2] -= 2 * stiff
    bands[1, 1:-1] -= 2 * stiff
    bands[2, :-2] += stiff
    bands[0, given] += FIXED
    return bands
