"""A body that hovers is let down onto the foot that carries it.

Networks leave feet some centimetres above the floor while one of them carries the body. The lock holds such a foot
still, but in the air. Here the whole body sinks until the carrying foot is near to the floor; its pose stays.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion.skeleton import CONTACT_JOINTS, FPS
from choreo.postprocess.contacts import FLAT_HEIGHTS
from choreo.postprocess.floor import BODY, RESTING_HEIGHTS, smooth_envelope

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

TOLERANCE: Final = 0.02
"""A foot this close to the floor is left to the lock, which reaches it by the leg, metres."""
SECONDS: Final = 0.25
"""Time over which a body sinks and rises again."""


def settled(positions: Array, support: Bools, fps: float = FPS, given: Bools | None = None) -> Array:
    """Height (T,) by which the body sinks, at least 0, metres.

    It is smooth, and nowhere more than what is between the floor and the lowest part of the body. In a jump it goes
    from what it was before to what it is afterwards.

    Args:
        positions: (T, 22, 3) metres, floor at y = 0.
        support: (T, 2) which feet carry the body.
        fps: frames per second.
        given: (T,) frames that stay as they are.
    """
    joints = positions[:, CONTACT_JOINTS, 1] - FLAT_HEIGHTS
    feet = np.minimum(joints[:, :2], joints[:, 2:])
    carried = np.flatnonzero(support.any(axis=1))
    if not len(carried):
        return np.zeros(len(positions))
    hover = np.where(support, feet, np.inf).min(axis=1)[carried]
    room = np.minimum(feet.min(axis=1), (positions[:, BODY, 1] - RESTING_HEIGHTS[list(BODY)]).min(axis=1))
    need = np.minimum(np.interp(np.arange(len(positions)), carried, hover) - TOLERANCE, room).clip(min=0)
    if given is not None:
        need = np.where(given, 0.0, need)
    return -smooth_envelope(-need, SECONDS, fps)
