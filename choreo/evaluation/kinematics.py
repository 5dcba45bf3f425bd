"""Kinematic measures of a motion: jerk, kinetic energy, deviation from the canonical bone lengths."""

import numpy as np
from numpy.typing import NDArray

from choreo.motion.clip import check_positions
from choreo.motion.skeleton import BONE_LENGTHS, FPS, PARENTS


def jerk(positions: NDArray[np.floating], fps: float = FPS) -> float:
    """Mean |d^3 x / dt^3| over joints and frames, by third differences, m/s^3; 0 for fewer than four frames.

    Args:
        positions: (T, 22, 3) metres.
        fps: frames per second.
    """
    return _mean_norm_of_difference(positions, 3) * fps**3


def kinetic_energy(positions: NDArray[np.floating], fps: float = FPS) -> float:
    """Mean of v^2 / 2 over joints and frames, with unit masses, m^2/s^2; 0 for a single frame.

    Args:
        positions: (T, 22, 3) metres.
        fps: frames per second.
    """
    check_positions(positions, "positions")
    if len(positions) < 2:
        return 0.0
    velocity = np.diff(np.asarray(positions, np.float64), axis=0) * fps
    return float(0.5 * (velocity**2).sum(-1).mean())


def bone_length_deviation(positions: NDArray[np.floating]) -> float:
    """Mean |length - canonical| / canonical over the 21 bones and all frames.

    Args:
        positions: (T, 22, 3) metres.
    """
    check_positions(positions, "positions")
    p = np.asarray(positions, np.float64)
    lengths = np.linalg.norm(p[:, 1:] - p[:, PARENTS[1:]], axis=-1)
    return float((np.abs(lengths - BONE_LENGTHS[1:]) / BONE_LENGTHS[1:]).mean())


def _mean_norm_of_difference(positions: NDArray[np.floating], order: int) -> float:
    check_positions(positions, "positions")
    if len(positions) <= order:
        return 0.0
    return float(np.linalg.norm(np.diff(np.asarray(positions, np.float64), n=order, axis=0), axis=-1).mean())
