"""A motion clip: joint positions over time with their frame rate."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion.skeleton import FPS, NUM_JOINTS

MAX_FRAMES = 30 * 3600
"""Longest clip that is accepted: an hour at 30 fps."""
MAX_COORDINATE = 1e4
"""Largest plausible coordinate, metres."""


@dataclass(frozen=True)
class Motion:
    """Joint positions of one dancer.

    Attributes:
        positions: float32 (T, 22, 3), metres, y up, SMPL-22 order.
        fps: frames per second.
        rotations: float32 (T, 22, 3, 3) local rotations (parent to joint) whose forward kinematics on the canonical
            skeleton are `positions`; None for motion that was not fitted.
        meta: JSON-serialisable provenance.

    Raises:
        InvalidInput: positions or frame rate are unusable.
    """

    positions: NDArray[np.float32]
    fps: float = FPS
    rotations: NDArray[np.float32] | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_positions(self.positions, "motion")
        check_fps(self.fps)

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.positions)

    @property
    def seconds(self) -> float:
        """Duration, T / fps."""
        return self.num_frames / self.fps


def check_fps(fps: float, field_name: str = "fps") -> None:
    """Check a frame rate.

    Raises:
        InvalidInput: not between 1 and 1000 frames per second.
    """
    if not (np.isfinite(fps) and 1 <= fps <= 1000):
        raise InvalidInput(field_name, f"must be between 1 and 1000 frames per second, got {fps}")


def check_positions(positions: NDArray[Any], field_name: str) -> None:
    """Check joint positions from outside: a finite (T, 22, 3) array of plausible metres.

    Raises:
        InvalidInput: wrong shape, no frames, too many frames, NaN, infinity or coordinates beyond 10 km.
    """
    if positions.ndim != 3 or positions.shape[1:] != (NUM_JOINTS, 3):
        raise InvalidInput(field_name, f"must have shape (T, {NUM_JOINTS}, 3), got {positions.shape}")
    if not 1 <= len(positions) <= MAX_FRAMES:
        raise InvalidInput(field_name, f"must have between 1 and {MAX_FRAMES} frames, got {len(positions)}")
    if not np.isfinite(positions).all():
        raise InvalidInput(field_name, "holds NaN or infinite coordinates")
    if np.abs(positions).max() > MAX_COORDINATE:
        raise InvalidInput(field_name, f"holds coordinates beyond {MAX_COORDINATE:g} m; positions are in metres")
