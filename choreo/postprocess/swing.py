"""Feet that do not carry the body clear the floor while they move over it, instead of dragging.

A foot that travels over the floor without weight is raised along one smooth arc per swing. Quick slides that a dancer
means, with weight on the foot, are not touched, and nor are feet that merely tap.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion.skeleton import ANKLE_HEIGHT, FPS, LEGS, TOE_HEIGHT
from choreo.postprocess.contacts import horizontal_speed
from choreo.postprocess.floor import smooth_envelope

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

CLEARANCE: Final = 0.04
"""Height over its flat height that the toe of a foot in full swing has at least, metres."""
DRAG: Final = (0.4, 0.8)
"""Horizontal speeds between which the clearance grows from 0 to all of it, m/s."""
RISE_SECONDS: Final = 0.1
"""Time over which a foot rises and is lowered."""


def swing_lift(positions: Array, support: Bools, fps: float = FPS, given: Bools | None = None) -> Array:
    """How far (T, 2) to raise the left and the right foot, metres.

    Args:
        positions: (T, 22, 3) metres, floor at y = 0.
        support: (T, 2) which feet carry the body.
        fps: frames per second.
        given: (T,) frames that must not move; none are raised.
    """
    ankle, toe = (positions[:, [leg[joint] for leg in LEGS]] for joint in (2, 3))
    slow, fast = DRAG
    moving = np.clip((horizontal_speed(toe, fps) - slow) / (fast - slow), 0, 1)
    height = np.minimum(toe[..., 1] - TOE_HEIGHT, ankle[..., 1] - ANKLE_HEIGHT + 0.02)
    need = np.where(support, 0, np.maximum(CLEARANCE * moving - np.maximum(height, 0), 0))
    lift = np.stack([smooth_envelope(side, RISE_SECONDS, fps) for side in need.T], axis=1)
    if given is not None:
        lift[given] = 0
    return lift
