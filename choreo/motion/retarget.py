"""Retargeting of an actor's joint positions to the canonical skeleton, with the footwork kept."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from choreo.motion import rotations as rot
from choreo.motion.kinematics import fit, forward_kinematics, heading
from choreo.motion.skeleton import (
    ANKLE_HEIGHT,
    BONE_LENGTHS,
    CHEST,
    CONTACT_JOINTS,
    FPS,
    L_ANKLE,
    L_FOOT,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    NECK,
    NUM_JOINTS,
    PARENTS,
    PELVIS,
    R_ANKLE,
    R_FOOT,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    REST_OFFSETS,
    SPINE2,
    TOE_HEIGHT,
)

Array = NDArray[np.float64]

_FEET = list(CONTACT_JOINTS)
_FLAT = np.array([ANKLE_HEIGHT, ANKLE_HEIGHT, TOE_HEIGHT, TOE_HEIGHT])
_SMOOTHING = 9
_PLANTED_SPEED, _PLANTED_HEIGHT, _ROOT_WEIGHT = 0.25, 0.06, 0.02


@dataclass(frozen=True)
class Retargeted:
    """Motion on the canonical skeleton.

    Attributes:
        positions: (T, 22, 3) metres, rigid, standing on y = 0.
        residual: mean distance of the joints to the recording, metres, both with the pelvis at the origin and the
            recording scaled to canonical leg length: a difference of shape, not of place.
    """

    positions: Array
    residual: float


def retarget(positions: NDArray[np.floating], fps: float = FPS) -> Retargeted:
    """Keep bone directions, replace bone lengths, make the body rigid, then derive the root path from the feet.

    Other leg lengths would move the feet, so the root's height and horizontal path are chosen to compensate: the lowest
    foot keeps its height above the floor, and a planted foot keeps its horizontal velocity.

    Args:
        positions: (T, 22, 3) of an actor of any size, y up, metres.
        fps: frames per second.
    """
    source = np.asarray(positions, np.float64)
    source = source * _leg_ratio(source)
    rigid = fit(_canonical_bones(source)).positions
    body = rigid - rigid[:, [PELVIS]]
    residual = np.linalg.norm(body - (source - source[:, [PELVIS]]), axis=-1).mean()
    flat = np.percentile(source[:, _FEET, 1], 5, axis=0)
    lift = np.maximum((source[:, _FEET, 1] - flat).min(axis=1), -0.05)
    height = lift - (body[:, _FEET, 1] - _FLAT).min(axis=1)
    root = np.stack([np.zeros(len(source)), height, np.zeros(len(source))], axis=1)
    root[:, [0, 2]] = _travel(source, body, flat, fps)
    if len(root) >= _SMOOTHING:  # which foot is lowest changes between frames, which would make the body shake
        root = savgol_filter(root, _SMOOTHING, 2, axis=0)
    return Retargeted(body + root[:, None], float(residual))


def _leg_ratio(positions: Array) -> float:
    bones = [L_KNEE, R_KNEE, L_ANKLE, R_ANKLE]
    lengths = np.linalg.norm(positions[:, bones] - positions[:, [PARENTS[j] for j in bones]], axis=-1)
    return float(BONE_LENGTHS[bones].sum() / max(np.median(lengths, axis=0).sum(), 1e-3))


def _canonical_bones(positions: Array) -> Array:
    out = np.empty_like(positions)
    out[:, PELVIS] = positions[:, PELVIS]
    bodies = {
        PELVIS: _body_rotation(positions, (L_HIP, R_HIP), (PELVIS, CHEST)),
        CHEST: _body_rotation(positions, (L_SHOULDER, R_SHOULDER), (SPINE2, NECK)),
    }
    for joint in range(1, NUM_JOINTS):
        direction = rot.normalize(positions[:, joint] - positions[:, PARENTS[joint]])
        if PARENTS[joint] in bodies:
            direction = bodies[PARENTS[joint]] @ rot.normalize(REST_OFFSETS[joint])
        if joint in (L_FOOT, R_FOOT):
            direction = _level_foot(positions, joint, direction)
        out[:, joint] = out[:, PARENTS[joint]] + BONE_LENGTHS[joint] * direction
    return out


def _body_rotation(positions: Array, across: tuple[int, int], up: tuple[int, int]) -> Array:
    """Rotation (T, 3, 3) of pelvis or chest from its left-right and its upward direction.

    Rigs differ in where they put hips, collars and the first spine joint within the trunk, but hardly in these two.
    """
    rest = forward_kinematics(np.zeros(3), np.broadcast_to(np.eye(3), (NUM_JOINTS, 3, 3)))[None]

    def frame(p: Array) -> Array:
        x = rot.normalize(p[:, across[0]] - p[:, across[1]])
        z = rot.normalize(np.cross(x, p[:, up[1]] - p[:, up[0]]))
        return np.stack([x, np.cross(z, x), z], axis=-1)

    return frame(positions) @ np.swapaxes(frame(rest), -1, -2)


def _level_foot(positions: Array, toe: int, direction: Array) -> Array:
    """Tilt foot directions (T, 3) so that a standing foot has the canonical foot's pitch.

    Rigs put the toe joint anywhere from the ball of the foot to just below the ankle, so a standing foot is recognised
    by its low ankle alone. Where the toe points straight down, the body's heading gives the foot's heading.
    """
    ankle = positions[:, PARENTS[toe], 1]
    standing = ankle <= np.percentile(ankle, 5) + 0.03
    facing = heading(positions)
    flat = direction * (1, 0, 1) + 0.1 * np.stack([np.sin(facing), np.zeros_like(facing), np.cos(facing)], axis=1)
    pitch = np.arctan2(direction[:, 1], np.linalg.norm(direction[:, [0, 2]], axis=1))
    rest = REST_OFFSETS[toe]
    pitch = pitch - np.median(pitch[standing]) + np.arctan2(rest[1], np.hypot(rest[0], rest[2]))
    pitch = np.clip(pitch, -1.4, 0.8)[:, None]
    return np.cos(pitch) * rot.normalize(flat) + np.sin(pitch) * np.array([0.0, 1.0, 0.0])


def _travel(source: Array, body: Array, flat: Array, fps: float) -> Array:
    """Horizontal root path (T, 2), metres: the recording's own velocity, corrected by the planted feet."""
    feet = source[:, _FEET]
    velocity = np.diff(feet, axis=0)[..., [0, 2]] * fps
    height = np.maximum(feet[1:, :, 1] - flat, 0)
    weight = np.exp(-((np.linalg.norm(velocity, axis=-1) / _PLANTED_SPEED) ** 2) - (height / _PLANTED_HEIGHT) ** 2)
    wanted = velocity - np.diff(body[:, _FEET], axis=0)[..., [0, 2]] * fps
    root = np.diff(source[:, PELVIS], axis=0)[:, [0, 2]] * fps
    total = weight.sum(axis=1, keepdims=True) + _ROOT_WEIGHT
    blended = ((wanted * weight[..., None]).sum(axis=1) + _ROOT_WEIGHT * root) / total
    start = source[:1, PELVIS][:, [0, 2]]
    return np.concatenate([start, start + np.cumsum(blended, axis=0) / fps])


def is_canonical(positions: NDArray[np.floating]) -> bool:
    """Whether all bones of positions (T, 22, 3) have the canonical lengths, within a centimetre."""
    source = np.asarray(positions, np.float64)
    lengths = np.linalg.norm(source[:, 1:] - source[:, PARENTS[1:]], axis=-1)
    return bool(np.abs(lengths - BONE_LENGTHS[1:]).max() < 0.01)


def refit(positions: NDArray[np.floating]) -> Array:
    """Positions (T, 22, 3) on the canonical skeleton: retargeted, or unchanged if they already are canonical."""
    source = np.asarray(positions, np.float64)
    return source if is_canonical(source) else retarget(source).positions
