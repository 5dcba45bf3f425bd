"""From the camera's frame to the world: metres, y up, a level floor at y = 0; the same change for all persons."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion import rotations as rot
from choreo.motion.skeleton import BONE_LENGTHS, L_ANKLE, L_FOOT, L_KNEE, NECK, PELVIS, R_ANKLE, R_FOOT
from choreo.motion.units import leg_length
from choreo.motion.upright import AUTO, find_up

Array = NDArray[np.float64]

UNITS: Final = (1.0, 2.2, 0.001, 0.01)
"""Metres per unit of the results: metres, HybrIK's depth factor, millimetres, centimetres."""
KNOWN_UNIT: Final = 1.25
"""Largest ratio between a person's legs and canonical ones for which a unit of `UNITS` is believed."""
MIN_TILT: Final = np.radians(4.0)
"""A camera that leans less is taken to be level: dancers do not stand straight on average to within that."""
MAX_TILT: Final = np.radians(35.0)
TOE_PERCENTILE: Final = 2


def metres_per_unit(joints: Array) -> float:
    """The unit of joints (N, 22, 3) of all persons together, so that what is between them keeps its proportions.

    Raises:
        InvalidInput: no person has legs.
    """
    legs, canonical = leg_length(joints), float(BONE_LENGTHS[[L_KNEE, L_ANKLE]].sum())
    if not legs > 1e-9:
        raise InvalidInput("results", "holds persons whose legs have no length")
    best = min(UNITS, key=lambda unit: abs(np.log(legs * unit / canonical)))
    ratio = legs * best / canonical
    return best if 1 / KNOWN_UNIT <= ratio <= KNOWN_UNIT else canonical / legs


def upright(joints: Array, up: str = AUTO) -> tuple[Array, float, str]:
    """Joints (N, 22, 3) with y up, the camera's lean that was removed in degrees, and a note on the axis.

    Cameras have y down. A camera that looks down on the dancers makes all of them lean alike; up is where they point on
    average, if that is more than `MIN_TILT` from the axis and less than `MAX_TILT`.
    """
    found = find_up([joints], up, convention="-y")
    turned = found.turned(joints)
    ankles = (turned[:, L_ANKLE] + turned[:, R_ANKLE]) / 2
    standing = rot.normalize(np.median(rot.normalize(turned[:, NECK] - ankles), axis=0))
    tilt = float(np.arccos(np.clip(standing[1], -1, 1)))
    if not MIN_TILT < tilt < MAX_TILT or up != AUTO:
        return turned, 0.0, found.note
    level = rot.shortest_arc(standing[None], np.array([[0.0, 1.0, 0.0]]))[0]
    return turned @ level.T, float(np.degrees(tilt)), found.note


def grounded(dancers: list[Array]) -> list[Array]:
    """Dancers (T, 22, 3) moved together: the floor at y = 0, the middle between their first pelvises at x = z = 0."""
    toes = np.concatenate([dancer[:, [L_FOOT, R_FOOT], 1].reshape(-1) for dancer in dancers])
    middle = np.mean([dancer[0, PELVIS] for dancer in dancers], axis=0)
    offset = np.array([middle[0], np.percentile(toes, TOE_PERCENTILE), middle[2]])
    return [dancer - offset for dancer in dancers]
