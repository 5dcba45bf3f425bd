"""Height of the lower foot above the floor: how far a dancer floats, and how far feet go into the floor.

As PhysDiff (Yuan et al. 2023) measures it on the lowest vertex of a mesh, here on ankles and toes less the thickness of
the foot below them. Jumps and floor work float as well, so recorded motion is not at 0.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion.clip import check_positions
from choreo.motion.skeleton import ANKLE_HEIGHT, CONTACT_JOINTS, TOE_HEIGHT

TOLERANCE: Final = 0.005
"""Heights this close to the floor are on it, metres."""
REST: Final = np.array([ANKLE_HEIGHT, ANKLE_HEIGHT, TOE_HEIGHT, TOE_HEIGHT])
"""Heights of `CONTACT_JOINTS` in a foot that is flat on the floor, metres."""


def foot_float_cm(positions: NDArray[np.floating]) -> float:
    """Mean height of the lowest ankle or toe above the floor, less TOLERANCE, cm; frames on or below it count 0.

    Args:
        positions: (T, 22, 3) metres, y up, floor at y = 0.
    Raises:
        InvalidInput: wrong shape, NaN or infinity.
    """
    return float(100 * np.maximum(_lowest(positions) - TOLERANCE, 0).mean())


def foot_penetration_cm(positions: NDArray[np.floating]) -> float:
    """Mean depth of the lowest ankle or toe below the floor, less TOLERANCE, cm; frames on or above it count 0.

    Args:
        positions: (T, 22, 3) metres, y up, floor at y = 0.
    Raises:
        InvalidInput: wrong shape, NaN or infinity.
    """
    return float(100 * np.maximum(-_lowest(positions) - TOLERANCE, 0).mean())


def _lowest(positions: NDArray[np.floating]) -> NDArray[np.float64]:
    """Height (T,) of the lowest part of both feet, metres."""
    check_positions(positions, "positions")
    return np.asarray((np.asarray(positions, np.float64)[:, CONTACT_JOINTS, 1] - REST).min(axis=1))
