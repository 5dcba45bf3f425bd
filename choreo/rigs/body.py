"""A rig as a human body: its size, which way it faces, where its floor is, and how far its rest pose is from a T pose.

Everything here is in the axes of the canonical skeleton (y up, facing +z, left towards +x) and in its size: a unit is
what makes the rig's legs as long as the canonical ones. Distances that were chosen for that skeleton then hold for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion import rotations as rot
from choreo.motion.skeleton import (
    BONE_LENGTHS,
    JOINT_NAMES,
    L_ANKLE,
    L_FOOT,
    L_KNEE,
    NECK,
    NUM_JOINTS,
    PELVIS,
    R_ANKLE,
    REST_OFFSETS,
    TOE_HEIGHT,
)
from choreo.motion.upright import rest_up
from choreo.rigs.joint_map import LIMBS, JointMap
from choreo.rigs.rig import Rig

Array = NDArray[np.float64]

STANDS: Final = (-0.03, 0.15)
"""Heights of the lowest joint of the feet over the file's origin at which the rig stands on it, canonical metres."""
SNAP: Final = np.cos(np.radians(10.0))
"""A rig that faces an axis within 10 degrees faces it."""
STRAIGHT: Final = 0.9
"""Least distance between the ends of a limb of a T or A pose, as a share of the length along it."""
SIDES: Final = ("left", "right")
_UPS: Final = {f"{sign}{axis}": n * np.eye(3)[i] for sign, n in (("", 1), ("-", -1)) for i, axis in enumerate("xyz")}
_ARM: Final = (("shoulder", "elbow"), ("elbow", "wrist"))
_LEG: Final = (("hip", "knee"), ("knee", "ankle"))


@dataclass(frozen=True)
class Body:
    """What of a rig retargeting needs.

    Attributes:
        axes: (3, 3) takes canonical axes to the file's.
        scale: file units per canonical metre.
        rest: (J, 3) joint positions, canonical axes and size, y = 0 where the file's origin is.
        toes: (2, 3) of left and right, estimated where the rig has none.
        floor: height that the rest pose stands on.
        to_t: joint to the rotation (3, 3) that takes it from the rest pose to the canonical one.
        notes: what was estimated or looks wrong.
    """

    axes: Array
    scale: float
    rest: Array
    toes: Array
    floor: float
    to_t: dict[int, Array]
    notes: tuple[str, ...]


def body_of(rig: Rig, mapped: JointMap, field: str = "rig") -> Body:
    """Measure a rig.

    Raises:
        InvalidInput: its legs have no length, or its rest pose does not stand.
    """
    at = {name: rig.positions[joint] for name, joint in mapped.joints.items()}
    legs = [[at[f"{side}_{part}"] for part in ("hip", "knee", "ankle")] for side in SIDES]
    length = float(np.linalg.norm(np.diff(legs, axis=1), axis=-1).sum() / 2)
    scale = length / float(BONE_LENGTHS[[L_KNEE, L_ANKLE]].sum())
    bones = [(upper, lower) for parts in (_ARM, _LEG) for upper, lower in parts]
    shortest = min(
        float(np.linalg.norm(at[f"{side}_{lower}"] - at[f"{side}_{upper}"])) for side in SIDES for upper, lower in bones
    )
    if not scale > 0 or shortest < 1e-3 * length:
        raise InvalidInput(field, "has legs or arms without length")
    axes = _axes(rig, mapped, field)
    rest = rig.positions @ axes / scale
    toes, notes = _toes(rest, mapped)
    if (toes - rest[[mapped.joints[f"{side}_ankle"] for side in SIDES]])[:, 2].sum() < 0:
        notes.append("has toes that point backwards: its left and right may be exchanged")
    if not all(_is_straight(rest, mapped, limb) for limb in LIMBS):
        notes.append("has a rest pose with bent limbs, no T or A pose: spine, feet and hands may be turned too far")
    lowest = _lowest(rig, mapped, rest)
    floor = 0.0 if STANDS[0] <= lowest <= STANDS[1] else lowest
    return Body(axes, scale, rest, toes, floor, _to_t_pose(rest, toes, mapped), tuple(notes))


def stands_along(rig: Rig, mapped: JointMap) -> str | None:
    """The axis of the file that the rest pose stands along; None if it does not stand."""
    p, joints = rig.positions, mapped.joints
    pose = np.zeros((NUM_JOINTS, 3))
    pose[PELVIS] = (p[joints["left_hip"]] + p[joints["right_hip"]]) / 2
    pose[NECK] = (p[joints["left_shoulder"]] + p[joints["right_shoulder"]]) / 2
    pose[L_ANKLE], pose[R_ANKLE] = p[joints["left_ankle"]], p[joints["right_ankle"]]
    return rest_up(pose)


def _axes(rig: Rig, mapped: JointMap, field: str) -> Array:
    """Left, up and forward of the rest pose as columns; up is an axis of the file, and left, too, if it nearly is."""
    p, joints = rig.positions, mapped.joints
    axis = stands_along(rig, mapped)
    if axis is None:
        raise InvalidInput(field, "has a rest pose that does not stand upright; export it in a T or A pose")
    up = _UPS[axis]
    across = sum(p[joints[f"left_{part}"]] - p[joints[f"right_{part}"]] for part in ("hip", "shoulder"))
    left = rot.normalize(across - (across @ up) * up)
    if not left.any():
        raise InvalidInput(field, "has hips and shoulders at one place")
    for snapped in _UPS.values():
        if left @ snapped >= SNAP:
            left = snapped
    return np.stack([left, up, np.cross(left, up)], axis=1)


def _toes(rest: Array, mapped: JointMap) -> tuple[Array, list[str]]:
    """Toes (2, 3), and notes; missing ones are where the canonical skeleton has them."""
    toes = np.empty((2, 3))
    notes: list[str] = []
    for i, side in enumerate(SIDES):
        toe = mapped.joints.get(f"{side}_foot")
        toes[i] = rest[mapped.joints[f"{side}_ankle"]] + REST_OFFSETS[L_FOOT] * (1 - 2 * i, 1, 1)
        if toe is not None:
            toes[i] = rest[toe]
        elif not notes:
            notes.append("has no toes: they are estimated")
    return toes, notes


def _is_straight(rest: Array, mapped: JointMap, limb: Sequence[str]) -> bool:
    places = rest[[mapped.joints[name] for name in limb]]
    along = float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())
    return float(np.linalg.norm(places[-1] - places[0])) >= STRAIGHT * along


def _lowest(rig: Rig, mapped: JointMap, rest: Array) -> float:
    """Height of what the rest pose stands on: a little below the lowest joint of the feet, or at its end site."""
    feet = [joint for side in SIDES for joint in rig.below(mapped.joints[f"{side}_ankle"])]
    lowest = min(feet, key=lambda joint: float(rest[joint, 1]))
    is_end = lowest not in mapped.joints.values()
    return float(rest[lowest, 1]) - (0.0 if is_end else TOE_HEIGHT)


def _to_t_pose(rest: Array, toes: Array, mapped: JointMap) -> dict[int, Array]:
    """Rotations from the rest pose to the canonical T pose: of limbs by their directions, of feet by their heading.

    The trunk, neck and head of a standing rig are as they are in a T pose, however its spine is curved.
    """
    joints, out = mapped.joints, {}
    for i, side in enumerate(SIDES):
        for parts, end in ((_ARM, "wrist"), (_LEG, None)):
            turn = np.eye(3)
            for upper, lower in parts:
                bone = rest[joints[f"{side}_{lower}"]] - rest[joints[f"{side}_{upper}"]]
                wanted = REST_OFFSETS[JOINT_NAMES.index(f"{side}_{lower}")]
                turn = rot.shortest_arc(turn @ bone, wanted) @ turn
                out[joints[f"{side}_{upper}"]] = turn
            if end is not None:
                out[joints[f"{side}_{end}"]] = turn
        ankle = joints[f"{side}_ankle"]
        foot = (toes[i] - rest[ankle]) * (1, 0, 1)
        wanted = REST_OFFSETS[JOINT_NAMES.index(f"{side}_foot")] * (1, 0, 1)
        ahead = foot[2] > 0.5 * float(np.linalg.norm(foot)) and np.linalg.norm(foot) > 0.02
        out[ankle] = rot.shortest_arc(foot, wanted) if ahead else np.eye(3)
        if f"{side}_foot" in joints:
            out[joints[f"{side}_foot"]] = out[ankle]
    return out
