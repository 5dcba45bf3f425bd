"""Analytic two-bone inverse kinematics of a leg: hip, knee, ankle."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion import rotations as rot

Array = NDArray[np.float64]

SOFT_REACH: Final = 0.99
"""Beyond this fraction of its length a leg is straightened gradually; the knee is then bent by at most 20 degrees."""
STRAIGHT: Final = 0.9995
"""A leg is never straightened beyond this fraction of its length (knee at 4 degrees) unless it already was."""
WEAK_POLE: Final = 0.1
"""A knee closer than this to the line from hip to ankle does not reliably show which way it bends, metres."""


def reach_limit(hip: Array, knee: Array, ankle: Array) -> tuple[Array, Array]:
    """Distances (...) from hip to ankle at which straightening becomes gradual, and the largest one, metres.

    Both are at least the present distance, so a leg that was straight may stay as straight as it was.

    Args:
        hip, knee, ankle: (..., 3) metres.
    """
    length = np.linalg.norm(knee - hip, axis=-1) + np.linalg.norm(ankle - knee, axis=-1)
    present = np.linalg.norm(ankle - hip, axis=-1)
    return np.maximum(SOFT_REACH * length, present), np.maximum(STRAIGHT * length, present)


def reach(hip: Array, knee: Array, ankle: Array, target: Array) -> Array:
    """Distance (...) from the hip that the ankle reaches when it moves towards `target` (..., 3), metres."""
    thigh, shin = np.linalg.norm(knee - hip, axis=-1), np.linalg.norm(ankle - knee, axis=-1)
    distance = _soften(np.linalg.norm(target - hip, axis=-1), *reach_limit(hip, knee, ankle))
    return np.clip(distance, np.abs(thigh - shin) + 1e-6, thigh + shin - 1e-12)


def raise_heel(hip: Array, ankle: Array, toe: Array, distance: Array) -> Array:
    """Ankle (..., 3) after turning the foot about its toe until it is `distance` (...) from the hip, or as close.

    Hip, ankle and toe form a two-bone chain of their own: the leg as one bone of length `distance`, and the foot.
    """
    foot, span = np.linalg.norm(toe - ankle, axis=-1), np.linalg.norm(toe - hip, axis=-1)
    axis = rot.normalize(toe - hip)
    along = np.clip((distance**2 - foot**2 + span**2) / (2 * np.maximum(span, 1e-6)), -distance, distance)
    aside = np.sqrt(distance**2 - along**2)
    pole = rot.normalize(_perpendicular(ankle - hip, axis))
    return hip + along[..., None] * axis + aside[..., None] * pole


def solve(hip: Array, knee: Array, ankle: Array, target: Array, forward: Array) -> tuple[Array, Array]:
    """Move the ankle to `target`, or as close as the leg reaches, keeping both bone lengths.

    The plane in which the knee bends is turned with the leg, by the rotation without twist from the old to the new
    direction from hip to ankle. A nearly straight knee, whose plane is noise, is turned towards `forward`, and no knee
    bends backwards, so a knee cannot flip.

    Args:
        hip, knee, ankle: (..., 3) present positions, metres; the hip stays.
        target: (..., 3) metres.
        forward: (..., 3) direction in which this knee bends.
    Returns:
        New knee and new ankle (..., 3).
    """
    thigh, shin = np.linalg.norm(knee - hip, axis=-1), np.linalg.norm(ankle - knee, axis=-1)
    distance = reach(hip, knee, ankle, target)
    axis = rot.normalize(target - hip)
    # Law of cosines: the knee is `along` the axis and `aside` from it.
    along = (thigh**2 - shin**2 + distance**2) / (2 * distance)
    aside = np.sqrt(np.maximum(thigh**2 - along**2, 0))
    pole = _pole(hip, knee, ankle, axis, forward)
    return hip + along[..., None] * axis + aside[..., None] * pole, hip + distance[..., None] * axis


def _soften(distance: Array, soft: Array, hard: Array) -> Array:
    """Identity up to `soft`, then an exponential approach to `hard`, with a continuous first derivative."""
    room = np.maximum(hard - soft, 1e-9)
    over = np.maximum(distance - soft, 0)
    return np.where(over > 0, soft + room * -np.expm1(-over / room), distance)


def _pole(hip: Array, knee: Array, ankle: Array, axis: Array, forward: Array) -> Array:
    """Unit vector (..., 3), perpendicular to `axis`, towards which the knee bends."""
    carried = (rot.shortest_arc(ankle - hip, axis) @ (knee - hip)[..., None])[..., 0]
    carried = _perpendicular(carried, axis)
    hint = rot.normalize(_perpendicular(forward, axis))
    carried -= np.minimum((carried * hint).sum(-1, keepdims=True), 0) * hint
    doubt = np.clip(1 - np.linalg.norm(carried, axis=-1, keepdims=True) / WEAK_POLE, 0, 1) ** 2
    return rot.normalize(carried + WEAK_POLE * doubt * hint)


def _perpendicular(v: Array, axis: Array) -> Array:
    return v - (v * axis).sum(-1, keepdims=True) * axis
