"""Kinematic measures of a motion: jerk and jitter, energy, dynamic degree, deviation from canonical bone lengths."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion.clip import check_positions
from choreo.motion.skeleton import BONE_LENGTHS, FPS, PARENTS, PELVIS

JITTER_UNIT: Final = 10.0
"""m/s^3 per unit of jitter."""


def jerk(positions: NDArray[np.floating], fps: float = FPS) -> float:
    """Mean |d^3 x / dt^3| over joints and frames, by third differences, m/s^3; 0 for fewer than four frames.

    Args:
        positions: (T, 22, 3) metres.
        fps: frames per second.
    """
    return _mean_norm_of_difference(positions, 3) * fps**3


def jitter(positions: NDArray[np.floating], fps: float = FPS) -> float:
    """The jerk in the unit of published tables, 10 m/s^3 (Shin et al. 2024, "WHAM"; Shen et al. 2024, "GVHMR").

    Args:
        positions: (T, 22, 3) metres.
        fps: frames per second; published figures are at 30.
    """
    return jerk(positions, fps) / JITTER_UNIT


def dynamic_degree(positions: NDArray[np.floating], fps: float = FPS) -> float:
    """Mean speed of the joints, plus their mean speed relative to the pelvis, m/s; 0 for a single frame.

    "Dynamic Degree" of MBench (Lin et al. 2025, "The Quest for Generalizable Motion Generation"), which gives it in
    metres a frame.

    Args:
        positions: (T, 22, 3) metres.
        fps: frames per second.
    """
    check_positions(positions, "positions")
    relative = np.asarray(positions, np.float64) - np.asarray(positions, np.float64)[:, PELVIS : PELVIS + 1]
    return (_mean_norm_of_difference(positions, 1) + _mean_norm_of_difference(relative, 1)) * fps


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
