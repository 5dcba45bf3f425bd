"""Arms outside of the body: elbows and wrists keep clear of the trunk, wrists of the head.

A joint that comes too close is pushed straight away from the axis of the trunk, or from the middle of the head, by a
correction that fades in and out. Which way is away is unsure close to the axis; there the direction is interpolated
over time, so that a hand that would pass through the body goes round it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion import rotations as rot
from choreo.motion.folding import LEAST_ANGLE
from choreo.motion.rigid_fit import FASTEST_JOINT, LIMB_TURN
from choreo.motion.skeleton import (
    FPS,
    HEAD,
    L_ELBOW,
    L_SHOULDER,
    L_WRIST,
    NECK,
    PELVIS,
    R_ELBOW,
    R_SHOULDER,
    R_WRIST,
)
from choreo.motion.steady import runs, steady_directions
from choreo.postprocess.floor import smooth_envelope

Array = NDArray[np.float64]

TRUNK_RADIUS: Final = 0.10
"""Least distance of elbows and wrists from the line between pelvis and neck, metres. In dance mocap one wrist in a
thousand comes closer."""
HEAD_RADIUS: Final = 0.11
"""Least distance of wrists from the middle of the head, metres."""
HEAD_HEIGHT: Final = 0.07
"""The middle of the head beyond its joint, metres."""
NEAR: Final = 1.5
"""Up to this multiple of its radius the way out of a body is interpolated where it is unsure."""
FADE_SECONDS: Final = 0.3
"""Time over which a correction fades in and out."""
ARMS: Final = ((L_SHOULDER, L_ELBOW, L_WRIST), (R_SHOULDER, R_ELBOW, R_WRIST))


def clear_arms(positions: NDArray[np.floating], fps: float = FPS) -> Array:
    """Positions (T, 22, 3), metres, with arms outside of the body and bones as long as they were; others do not move.

    Args:
        positions: joint positions, metres.
        fps: frames per second.
    """
    out = np.array(positions, np.float64)
    waist, neck = out[:, PELVIS], out[:, NECK]
    head = out[:, HEAD] + HEAD_HEIGHT * rot.normalize(out[:, HEAD] - neck)
    for arm in ARMS:
        shoulder, elbow, wrist = (out[:, joint] for joint in arm)
        moved = _clear(elbow, shoulder, waist, neck, TRUNK_RADIUS, fps)
        hand = _clear(wrist - elbow + moved, moved, waist, neck, TRUNK_RADIUS, fps)
        hand = _open(_clear(hand, moved, head, head, HEAD_RADIUS, fps), moved, shoulder)
        out[:, arm[1:]] = _calm(out[:, arm], np.stack([shoulder, moved, hand], axis=1), fps)
    return out


def _calm(before: Array, after: Array, fps: float) -> Array:
    """Elbows and wrists (T, 2, 3) of a corrected arm (T, 3, 3), blended back to it `before` where it is too fast."""
    speed = rot.length(np.diff(after, axis=0, append=after[-1:])).max(axis=1) * fps
    hurried = speed > FASTEST_JOINT
    if not hurried.any():
        return after[:, 1:]
    share = smooth_envelope(hurried.astype(np.float64), FADE_SECONDS, fps)[:, None, None]
    was = np.diff(before, axis=1)
    blend = rot.normalize((1 - share) * np.diff(after, axis=1) + share * was)
    return before[:, :1] + np.cumsum(blend * rot.length(was)[..., None], axis=1)


def _clear(joint: Array, parent: Array, start: Array, end: Array, radius: float, fps: float) -> Array:
    """Path (T, 3) of a joint, turned about its parent away from the line from `start` to `end`, all (T, 3)."""
    offset, distance = _from_line(joint, start, end)
    if (distance >= radius).all():
        return joint
    away = rot.normalize(offset)
    for first, stop in runs(distance < NEAR * radius):
        span = slice(first, stop)
        away[span] = steady_directions(away[span, None], distance[span, None] / radius, LIMB_TURN / fps)[:, 0]
    push = smooth_envelope(np.maximum(radius - distance, 0), FADE_SECONDS, fps)
    bone = rot.length(joint - parent)[..., None]
    moved = joint + (distance + push)[:, None] * away - offset
    return np.where(push[:, None] > 0, parent + bone * rot.normalize(moved - parent), joint)


def _open(wrist: Array, elbow: Array, shoulder: Array) -> Array:
    """Wrists (T, 3) turned about their elbows where those are folded farther than `LEAST_ANGLE`."""
    least = np.radians(LEAST_ANGLE[L_WRIST])
    axis, forearm = rot.normalize(shoulder - elbow), wrist - elbow
    length = rot.length(forearm)
    along = rot.dot(forearm, axis)
    aside = rot.normalize(forearm - along[:, None] * axis)
    opened = elbow + length[:, None] * (np.cos(least) * axis + np.sin(least) * aside)
    return np.where((along > np.cos(least) * length)[:, None], opened, wrist)


def _from_line(points: Array, start: Array, end: Array) -> tuple[Array, Array]:
    """Vectors (T, 3) to points from the nearest ones of the line from `start` to `end`, and their lengths (T,)."""
    line = end - start
    share = np.clip(rot.dot(points - start, line) / np.maximum(rot.dot(line, line), 1e-9), 0, 1)
    vectors = points - start - share[:, None] * line
    return vectors, rot.length(vectors)
