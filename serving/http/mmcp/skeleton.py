"""The skeleton of this program in the terms of the protocol."""

from typing import Final

from motionmcp import Joint, Skeleton

from choreo.motion.skeleton import ANKLE_HEIGHT, JOINT_NAMES, LEGS, PARENTS, PELVIS, REST_OFFSETS

UPRIGHT: Final = (0.0, 0.0, 0.0, 1.0)
STANDING: Final = ANKLE_HEIGHT - float(REST_OFFSETS[list(LEGS[0][:3]), 1].sum())
"""Height of the pelvis with straight legs, metres."""


def canonical_skeleton() -> Skeleton:
    """22 joints in metres, y up, in a T pose that stands on the floor and faces +z."""
    return Skeleton(joints=[_joint(joint) for joint in range(len(JOINT_NAMES))])


def _joint(joint: int) -> Joint:
    parent = PARENTS[joint]
    x, y, z = (float(value) for value in REST_OFFSETS[joint])
    return Joint(
        name=JOINT_NAMES[joint],
        parent=None if parent < 0 else JOINT_NAMES[parent],
        rest_translation=(0.0, STANDING, 0.0) if joint == PELVIS else (x, y, z),
        rest_rotation=UPRIGHT,
    )
