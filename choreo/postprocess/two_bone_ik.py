"""Analytic two-bone inverse kinematics of a leg: hip, knee, ankle."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion import rotations as rot
from choreo.motion.skeleton import FPS
from choreo.motion.steady import steady_directions

Array = NDArray[np.float64]

SOFT_REACH: Final = 0.99
"""Beyond this fraction of its length a leg is straightened gradually; the knee is then bent by at most 20 degrees."""
STRAIGHT: Final = 0.9995
"""A leg is never straightened beyond this fraction of its length (knee at 4 degrees) unless it already was."""
WEAK_POLE: Final = 0.1
"""A knee closer than this to the line from hip to ankle does not reliably show which way it bends, metres."""
KNEE_TURN: Final = np.radians(900.0)
"""Fastest turn of the plane in which a knee bends, radians per second: a bent knee moves by 6 m/s."""
LEAST_FORWARD: Final = 0.05
"""Sine of the angle by which a knee that bends sideways bends forward, so that it changes sides over the front."""
CLEAR_HINT: Final = 0.5
"""A forward direction whose part across the leg is shorter than this does not reliably say which way is forward."""


def reach_limit(hip: Array, knee: Array, ankle: Array) -> tuple[Array, Array]:
    """Distances (...) from hip to ankle at which straightening becomes gradual, and the largest one, metres.

    Both are at least the present distance, so a leg that was straight may stay as straight as it was.

    Args:
        hip, knee, ankle: (..., 3) metres.
    """
    length = rot.length(knee - hip) + rot.length(ankle - knee)
    present = rot.length(ankle - hip)
    return np.maximum(SOFT_REACH * length, present), np.maximum(STRAIGHT * length, present)


def reach(hip: Array, knee: Array, ankle: Array, target: Array) -> Array:
    """Distance (...) from the hip that the ankle reaches when it moves towards `target` (..., 3), metres."""
    thigh, shin = rot.length(knee - hip), rot.length(ankle - knee)
    distance = _soften(rot.length(target - hip), *reach_limit(hip, knee, ankle))
    return np.clip(distance, np.abs(thigh - shin) + 1e-6, thigh + shin - 1e-12)


def raise_heel(hip: Array, ankle: Array, toe: Array, distance: Array) -> Array:
    """Ankle (..., 3) after turning the foot about its toe until it is `distance` (...) from the hip, or as close.

    Hip, ankle and toe form a two-bone chain of their own: the leg as one bone of length `distance`, and the foot.
    """
    foot, span = rot.length(toe - ankle), rot.length(toe - hip)
    axis = rot.normalize(toe - hip)
    along = np.clip((distance**2 - foot**2 + span**2) / (2 * np.maximum(span, 1e-6)), -distance, distance)
    aside = np.sqrt(distance**2 - along**2)
    pole = rot.normalize(_perpendicular(ankle - hip, axis))
    return hip + along[..., None] * axis + aside[..., None] * pole


def solve(
    hip: Array, knee: Array, ankle: Array, target: Array, forward: Array, fps: float = FPS
) -> tuple[Array, Array]:
    """Move the ankle to `target`, or as close as the leg reaches, keeping both bone lengths.

    The plane in which the knee bends is turned with the leg, by the rotation without twist from the old to the new
    direction from hip to ankle. A nearly straight knee, whose plane is noise, is turned towards `forward`, and no knee
    bends backwards. Where that would turn the plane faster than `KNEE_TURN`, the turn is spread over the frames around.

    Args:
        hip, knee, ankle: (T, K, 3) present positions of K legs, metres; the hips stay.
        target: (T, K, 3) metres.
        forward: (T, K, 3) directions in which the knees bend.
        fps: frames per second.
    Returns:
        New knees and new ankles (T, K, 3).
    """
    thigh, shin = rot.length(knee - hip), rot.length(ankle - knee)
    distance = reach(hip, knee, ankle, target)
    axis = rot.normalize(target - hip)
    # Law of cosines: the knee is `along` the axis and `aside` from it.
    along = (thigh**2 - shin**2 + distance**2) / (2 * distance)
    aside = np.sqrt(np.maximum(thigh**2 - along**2, 0))
    pole = _pole(hip, knee, ankle, axis, forward, fps)
    return hip + along[..., None] * axis + aside[..., None] * pole, hip + distance[..., None] * axis


def _soften(distance: Array, soft: Array, hard: Array) -> Array:
    """Identity up to `soft`, then an exponential approach to `hard`, with a continuous first derivative."""
    room = np.maximum(hard - soft, 1e-9)
    over = np.maximum(distance - soft, 0)
    return np.where(over > 0, soft + room * -np.expm1(-over / room), distance)


def _pole(hip: Array, knee: Array, ankle: Array, axis: Array, forward: Array, fps: float) -> Array:
    """Unit vectors (T, K, 3), perpendicular to `axis`, towards which the knees bend."""
    carried = (rot.shortest_arc(ankle - hip, axis) @ (knee - hip)[..., None])[..., 0]
    carried = _perpendicular(carried, axis)
    bent = rot.length(carried)
    hint = _perpendicular(forward, axis)
    clear = np.minimum(rot.length(hint)[..., None] / CLEAR_HINT, 1)
    hint = rot.normalize(hint)
    carried += clear * np.maximum(LEAST_FORWARD * bent[..., None] - (carried * hint).sum(-1, keepdims=True), 0) * hint
    doubt = np.clip(1 - rot.length(carried)[..., None] / WEAK_POLE, 0, 1) ** 2
    carried += WEAK_POLE * doubt * hint
    sure = np.clip(rot.length(carried) / np.maximum(bent, WEAK_POLE), 0, 1)
    return rot.normalize(_perpendicular(steady_directions(rot.normalize(carried), sure, KNEE_TURN / fps), axis))


def _perpendicular(v: Array, axis: Array) -> Array:
    return v - (v * axis).sum(-1, keepdims=True) * axis
