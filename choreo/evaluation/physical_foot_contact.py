"""Physical foot contact: whether the body accelerates while no foot stands still to push it."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.evaluation.checks import frame_rate, moving
from choreo.motion.skeleton import FPS, L_ANKLE, L_FOOT, PELVIS, R_ANKLE, R_FOOT

PUBLISHED_FPS: Final = 30
SCALE: Final = 1e4


def physical_foot_contact(positions: NDArray[Any], fps: float = FPS) -> float:
    """PFC, lower is better (Tseng et al. 2023, "EDGE"): 10^4 mean(left right a / max a).

    a is the magnitude of the root's acceleration without its downward part, which gravity explains; left and right are
    the horizontal displacements, per 1/30 s, of the slower of each foot's ankle and toe. A motion whose root never
    accelerates, or of two frames, scores 0. The score depends on the body's size through the displacements and on the
    motion's length through the maximum, so compare motions of one skeleton, one length and one frame rate.

    Args:
        positions: (T, 22, 3) metres, y up.
        fps: frames per second; displacements are converted to the published 30.
    Raises:
        InvalidInput: wrong shape, NaN, infinity, or fewer than two frames.
    """
    p = moving(positions)
    scale = frame_rate(fps) / PUBLISHED_FPS
    if len(p) < 3:
        return 0.0
    acceleration = np.diff(p[:, PELVIS], n=2, axis=0)
    acceleration[:, 1] = np.maximum(acceleration[:, 1], 0)
    effort = np.linalg.norm(acceleration, axis=-1)
    if not effort.max():
        return 0.0
    travel = np.linalg.norm(np.diff(p[1:, [L_ANKLE, L_FOOT, R_ANKLE, R_FOOT]][..., [0, 2]], axis=0), axis=-1) * scale
    left, right = travel[:, :2].min(axis=1), travel[:, 2:].min(axis=1)
    return float(SCALE * (left * right * effort / effort.max()).mean())
