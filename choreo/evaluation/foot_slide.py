"""Foot slide: how far planted feet glide over the floor, in millimetres a frame."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.evaluation.checks import frame_rate, moving
from choreo.evaluation.lodge_foot_slide import feet_down
from choreo.motion.skeleton import FPS, L_FOOT, R_FOOT

PUBLISHED_FPS: Final = 30
MILLIMETRES: Final = 1000


def foot_slide_mm(positions: NDArray[Any], fps: float = FPS) -> float | None:
    """Mean horizontal distance that a planted toe moves in 1/30 s, averaged over both feet, mm; lower is better.

    "Foot Sliding" of MBench (Lin et al. 2025, "The Quest for Generalizable Motion Generation"), in millimetres. A foot
    is planted where it is down before and after the step, by the heights of Lodge (`lodge_foot_slide`); MBench also
    counts feet that are held still in the air, which are no slide.

    Args:
        positions: (T, 22, 3) metres, y up, floor at y = 0.
        fps: frames per second; distances are converted to the published 30.
    Returns:
        A number of at least 0; a foot that is never planted is left out. None if neither ever is.
    Raises:
        InvalidInput: wrong shape, NaN, infinity, or fewer than two frames.
    """
    p = moving(positions)
    scale = MILLIMETRES * frame_rate(fps) / PUBLISHED_FPS
    down = feet_down(p)
    planted = down[1:] & down[:-1]
    moved = np.linalg.norm(np.diff(p[:, [L_FOOT, R_FOOT]][..., [0, 2]], axis=0), axis=-1) * scale
    means = [moved[stands, foot].mean() for foot, stands in enumerate(planted.T) if stands.any()]
    return float(np.mean(means)) if means else None
