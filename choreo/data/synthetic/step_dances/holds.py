"""Arms: the hold of ballroom dances around an unseen partner, and the open arms of Latin dances."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.data.synthetic.choreography import Arm
from choreo.data.synthetic.step_dances.figures import Hold, Role

Array = NDArray[np.float64]

# Angles raised, swing, across, twist, bend of `Arm`.
_FRAME: Final[dict[Role, tuple[tuple[float, ...], tuple[float, ...]]]] = {
    "lead": ((-0.25, 0.0, 0.3, 0.5, 1.2), (-0.35, 0.0, 0.55, 0.1, 1.25)),
    "follow": ((-0.25, 0.0, 0.75, 0.25, 0.95), (-0.25, 0.0, 0.35, 0.5, 1.1)),
}
"""Left and right arm of the closed hold."""
_READY: Final = (-0.85, 0.15, 0.35, 0.35, 1.35)
"""An arm of the open hold: the elbow at the side, the forearm in front."""
_OPENED: Final = (-0.1, 0.0, 0.05, 0.1, 0.3)
"""An arm that is opened to the side."""

_YIELD: Final = 0.15
"""How far the closed hold gives way to the weight of its dancer, radians."""


@dataclass(frozen=True)
class Carriage:
    """How a dancer carries the arms.

    Attributes:
        raised: added to the elevation, radians.
        bend: added to the bend of the elbows, radians.
        reach: scales how far they open.
    """

    raised: float = 0.0
    bend: float = 0.0
    reach: float = 1.0


def arms(hold: Hold, role: Role, carriage: Carriage, opened: Array, weight: Array, movement: float) -> tuple[Arm, Arm]:
    """Left and right arm over frames (T,).

    Args:
        hold: of the dance.
        role: of the dancer; only the closed hold differs.
        carriage: of the dancer.
        opened: (T,) how far the arms are opened, 0..1.
        weight: (T,) -1 with the weight on the right foot, 1 on the left.
        movement: how much the arms follow the body, about 1; 0 holds them still.
    """
    if hold == "closed":
        frame = _FRAME[role]
        return (
            _arm(np.tile(frame[0], (len(weight), 1)), _YIELD * movement * weight, carriage),
            _arm(np.tile(frame[1], (len(weight), 1)), -_YIELD * movement * weight, carriage),
        )
    part = np.clip(carriage.reach * opened, 0, 1)[:, None]
    angles = (1 - part) * np.array(_READY) + part * np.array(_OPENED)
    swing = movement * weight * (1 - 0.5 * part[:, 0])
    return _arm(angles, -0.35 * swing, carriage), _arm(angles, 0.35 * swing, carriage)


def _arm(angles: Array, forward: Array, carriage: Carriage) -> Arm:
    """An arm at angles (T, 5) that moves forwards by `forward` (T,) radians and bends with it."""
    raised, swing, across, twist, bend = angles.T
    return Arm(
        raised + carriage.raised + 0.3 * forward,
        swing + 0.6 * forward,
        across + 0.7 * forward,
        twist,
        np.clip(bend + carriage.bend + 0.5 * forward, 0.05, 2.4),
    )
