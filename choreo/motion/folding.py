"""How far elbows and knees fold: a lower bone does not pass through the upper one."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion import rotations as rot
from choreo.motion.skeleton import L_ANKLE, L_WRIST, PARENTS, R_ANKLE, R_WRIST, REST_OFFSETS
from choreo.motion.steady import runs, steady_directions

Array = NDArray[np.float64]

LEAST_ANGLE: Final = {L_WRIST: 30.0, R_WRIST: 30.0, L_ANKLE: 15.0, R_ANKLE: 15.0}
"""Smallest angle between the two bones of an elbow (to the wrist) and a knee (to the ankle), degrees. In dance mocap
elbows fold to 25 and knees to 12."""
NEARLY_FOLDED: Final = np.radians(60.0)
"""Angle up to which the side to which a joint folds is interpolated where it is unsure."""
SIDE_TURN: Final = np.radians(1800.0)
"""Fastest turn of that side about the upper bone, radians per second: 60 degrees a frame at 30 fps, of which the lower
bone itself turns by as much as the sine of its angle says."""


def unfolded(directions: Array, end: int, fps: float) -> Array:
    """Directions (T, 3) of the bone to `end`, in the frame of the bone before it, with its joint opened where needed.

    Which way a joint folds is unsure when it is folded completely. There the side is interpolated over time, so that a
    bone that passes through the other one goes round it instead.

    Args:
        directions: unit vectors.
        end: joint at the end of the bone; others than wrists and ankles are returned as they are.
        fps: frames per second.
    """
    if end not in LEAST_ANGLE:
        return directions
    least = np.radians(LEAST_ANGLE[end])
    axis = -rot.normalize(REST_OFFSETS[PARENTS[end]])
    cosine = directions @ axis
    folded = cosine > np.cos(least)
    if not folded.any():
        return directions
    out = directions.copy()
    plane = _plane(axis)
    for first, stop in runs(cosine > np.cos(NEARLY_FOLDED)):
        span = slice(first, stop)
        if folded[span].any():
            aside = directions[span] @ plane.T
            sine = rot.length(aside)
            aside = rot.normalize(aside)[:, None]
            side = steady_directions(aside, sine[:, None], SIDE_TURN / fps)[:, 0]
            angle = np.maximum(np.arctan2(sine, cosine[span]), least)[:, None]
            out[span] = np.cos(angle) * axis + np.sin(angle) * (side @ plane)
    return out


def _plane(axis: Array) -> Array:
    """Two unit vectors (2, 3) that span the plane perpendicular to a unit vector (3,)."""
    first = rot.normalize(rot.cross(axis, np.eye(3)[np.abs(axis).argmin()]))
    return np.stack([first, rot.cross(axis, first)])
