"""The twist of bones over time: what joint positions leave open about a rotation.

The rotation without twist from a bone's rest direction is smooth except around the opposite direction, where it spins
by twice the angle at which the bone passes. A folded elbow lives there. So beyond `FOLDED` the rotation is carried from
frame to frame without twist (parallel transport), and what is then left over, when the bone comes back, is spread over
the frames in between.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion import rotations as rot
from choreo.motion.steady import runs

Array = NDArray[np.float64]

FOLDED: Final = -0.5
"""Cosine to the rest direction, of 120 degrees, below which twist is carried. There the rotation without twist turns by
1.7 times the turn of its bone."""


def steady_swing(rest: Array, directions: Array) -> Array:
    """Rotations (T, N, 3, 3) that take rest directions (N, 3) to directions (T, N, 3), with steady twist.

    Where the directions stay within 120 degrees of rest these are the rotations without twist.
    """
    swing = rot.shortest_arc(rest, directions)
    rest, directions = rot.normalize(rest), rot.normalize(directions)
    folded = rot.dot(rest, directions) < FOLDED
    for bone in np.flatnonzero(folded.any(axis=0)):
        angle = _carried_twist(rest[bone], directions[:, bone], folded[:, bone])
        turned = np.flatnonzero(angle)
        swing[turned, bone] = rot.axis_angle(directions[turned, bone], angle[turned]) @ swing[turned, bone]
    return swing


def _carried_twist(rest: Array, directions: Array, folded: NDArray[np.bool_]) -> Array:
    """Angle (T,) about the directions (T, 3) by which twist-free rotations are turned, 0 where not folded."""
    out = np.zeros(len(directions))
    step = _transport(rest, directions[:-1], directions[1:])
    for first, end in runs(folded):
        begins, ends = first > 0, end < len(directions)
        # Carried on from the frame before, or, at the start of the clip, back from the frame after.
        low, high = max(first - 1, 0), min(end, len(directions) - 1)
        total = np.concatenate([[0.0], np.cumsum(step[low:high])])
        if ends and not begins:
            total -= total[-1]
        elif begins and ends:
            left = 2 * np.pi * np.round(total[-1] / (2 * np.pi)) - total[-1]
            total += left * np.arange(len(total)) / (len(total) - 1)
        out[first:end] = total[first - low : end - low]
    return out


def _transport(rest: Array, start: Array, end: Array) -> Array:
    """Twist (N,) by which transport from `start` to `end` (N, 3) differs from two rotations from rest.

    It is the area of the spherical triangle of the three directions (Van Oosterom and Strackee 1983).
    """
    volume = rot.dot(rest, rot.cross(start, end))
    spread = 1 + rot.dot(rest, start) + rot.dot(start, end) + rot.dot(end, rest)
    return np.asarray(2 * np.arctan2(volume, spread))
