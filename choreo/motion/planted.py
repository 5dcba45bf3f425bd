"""Which feet stand on the floor: the definition that networks learn, of motion that is recorded or made."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion.skeleton import ANKLE_HEIGHT, CONTACT_JOINTS, FPS, TOE_HEIGHT

PLANTED_SPEED: Final = 0.2
"""A foot slower than this, m/s, and no higher than `PLANTED_HEIGHTS`, is planted."""
PLANTED_HEIGHTS: Final = tuple(height + 0.04 for height in (ANKLE_HEIGHT, ANKLE_HEIGHT, TOE_HEIGHT, TOE_HEIGHT))
"""Metres above the floor, in the order of `CONTACT_JOINTS`."""


def planted(positions: NDArray[np.floating], fps: float = FPS) -> NDArray[np.float64]:
    """Contacts (T, 4), 0 or 1, in the order of `CONTACT_JOINTS`.

    A foot is planted in a frame where it moves slowly from the frame before or to the frame after.

    Args:
        positions: (T, 22, 3) metres, floor at y = 0.
        fps: frames per second.
    """
    feet = np.asarray(positions, np.float64)[:, list(CONTACT_JOINTS)]
    if len(feet) < 2:
        return (feet[..., 1] < PLANTED_HEIGHTS).astype(np.float64)
    slow = np.linalg.norm(np.diff(feet, axis=0), axis=-1) * fps < PLANTED_SPEED
    still = np.concatenate([slow, slow[-1:]]) | np.concatenate([slow[:1], slow])
    return (still & (feet[..., 1] < PLANTED_HEIGHTS)).astype(np.float64)
