"""The unit of joint positions, told from the length of the legs."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion.skeleton import BONE_LENGTHS, L_ANKLE, L_KNEE, PARENTS, R_ANKLE, R_KNEE

CENTIMETRE: Final = 0.01
UNITS: Final = (25.4e-3 / 0.45, CENTIMETRE, 0.0254, 0.001, 0.1, 1.0)
"""Metres per unit of a file: CMU's own (inches / 0.45), centimetres, inches, millimetres, decimetres, metres."""
LEG_METRES: Final = (0.4, 1.3)
"""Shortest and longest thigh and shank together; anything else is not in metres, or not human."""


def leg_length(positions: NDArray[np.floating]) -> float:
    """Median length of thigh and shank together, mean of both legs, in the unit of positions (T, 22, 3)."""
    p = np.asarray(positions, np.float64)
    bones = [L_KNEE, R_KNEE, L_ANKLE, R_ANKLE]
    lengths = np.linalg.norm(p[:, bones] - p[:, [PARENTS[j] for j in bones]], axis=-1)
    return float(np.median(lengths, axis=0).sum() / 2)


def metres_per_unit(positions: NDArray[np.floating]) -> float:
    """The unit of positions (T, 22, 3) of a human: centimetres if they give human legs, else the likeliest of `UNITS`.

    Where none gives human legs, the file was scaled, and the unit is the one that gives canonical legs. Without legs it
    is a centimetre.
    """
    legs, canonical = leg_length(positions), float(BONE_LENGTHS[[L_KNEE, L_ANKLE]].sum())
    if not legs > 0:
        return CENTIMETRE
    fitting = [unit for unit in UNITS if LEG_METRES[0] <= legs * unit <= LEG_METRES[1]]
    if CENTIMETRE in fitting:
        return CENTIMETRE
    return min(fitting, key=lambda unit: abs(np.log(legs * unit / canonical)), default=canonical / legs)
