"""A dancer of any size on the canonical skeleton who stays where the recording has them.

Retargeting lets the root follow the planted feet, so that a dancer with longer legs travels less. A solo does not
show it; a couple would drift apart. Here the root keeps the recording's place over seconds and the feet's say within
a step.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from choreo.motion.kinematics import fit
from choreo.motion.retarget import is_canonical, retarget
from choreo.motion.skeleton import FPS, PELVIS
from choreo.postprocess.floor import levelled

Array = NDArray[np.float64]

PLACE_SECONDS: Final = 0.4
"""Standard deviation of the Gaussian over which the recording's place counts."""
_GROUND: Final = [0, 2]


def in_its_place(positions: NDArray[np.floating], fps: float = FPS) -> Array:
    """Positions (T, 22, 3) on the canonical skeleton, on the floor y = 0, near where the recording has its pelvis.

    Motion on the canonical skeleton keeps its horizontal place exactly.

    Args:
        positions: (T, 22, 3) metres, y up.
        fps: frames per second.
    """
    source = np.asarray(positions, np.float64)
    if is_canonical(source):
        return levelled(fit(source).positions)
    out = levelled(retarget(source, fps).positions)
    away = source[:, PELVIS][:, _GROUND] - out[:, PELVIS][:, _GROUND]
    out[..., _GROUND] += gaussian_filter1d(away, PLACE_SECONDS * fps, axis=0, mode="nearest")[:, None]
    return out
