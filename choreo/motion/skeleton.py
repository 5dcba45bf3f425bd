"""The canonical SMPL-22 skeleton: names, parents, rest offsets, contact joints.

y is up, units are metres, the rest pose is a T pose that faces +z with its left side towards +x. Joint order and
parents are those of SMPL without the hands (Loper et al. 2015). The rest offsets are rounded, left-right symmetric
dimensions of an adult of about 1.7 m, chosen for this project and not taken from a body model.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

FPS: Final = 30
"""Frame rate of the shipped models and data."""
WINDOW: Final = 196
"""Frames that the shipped models generate at once."""

JOINT_NAMES: Final[tuple[str, ...]] = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
)  # fmt: skip
PARENTS: Final[tuple[int, ...]] = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
NUM_JOINTS: Final = len(PARENTS)

PELVIS, L_HIP, R_HIP, SPINE1, SPINE2 = 0, 1, 2, 3, 6
L_KNEE, R_KNEE, L_ANKLE, R_ANKLE, L_FOOT, R_FOOT = 4, 5, 7, 8, 10, 11
CHEST, NECK, HEAD, L_SHOULDER, R_SHOULDER = 9, 12, 15, 16, 17
L_ELBOW, R_ELBOW, L_WRIST, R_WRIST = 18, 19, 20, 21

LEGS: Final[tuple[tuple[int, int, int, int], ...]] = ((1, 4, 7, 10), (2, 5, 8, 11))
"""(hip, knee, ankle, toe) of the left and the right leg."""
CONTACT_JOINTS: Final[tuple[int, ...]] = (L_ANKLE, R_ANKLE, L_FOOT, R_FOOT)

ANKLE_HEIGHT: Final = 0.08
"""Height of an ankle above the floor when the foot is flat, metres."""
TOE_HEIGHT: Final = 0.02
"""Height of a toe joint above the floor when the foot is flat, metres."""


def _rest_offsets() -> NDArray[np.float64]:
    centre = {
        3: (0.0, 0.11, -0.01),
        6: (0.0, 0.13, 0.0),
        9: (0.0, 0.06, 0.0),
        12: (0.0, 0.20, -0.01),
        15: (0.0, 0.10, 0.03),
    }
    left = {
        1: (0.09, -0.08, 0.0), 4: (0.0, -0.41, 0.0), 7: (0.0, -0.42, -0.02), 10: (0.02, -0.06, 0.13),
        13: (0.07, 0.10, -0.01), 16: (0.11, 0.03, -0.01), 18: (0.27, 0.0, 0.0), 20: (0.25, 0.0, 0.0),
    }  # fmt: skip
    mirror = {1: 2, 4: 5, 7: 8, 10: 11, 13: 14, 16: 17, 18: 19, 20: 21}
    offsets = np.zeros((NUM_JOINTS, 3))
    for joint, offset in (centre | left).items():
        offsets[joint] = offset
    for joint, other in mirror.items():
        offsets[other] = np.array(left[joint]) * (-1, 1, 1)
    offsets.setflags(write=False)
    return offsets


REST_OFFSETS: Final = _rest_offsets()
"""(22, 3) offset of each joint from its parent in the rest pose, metres; zero for the pelvis."""

BONE_LENGTHS: Final = np.linalg.norm(REST_OFFSETS, axis=1)
BONE_LENGTHS.setflags(write=False)

MIRROR: Final[tuple[int, ...]] = (0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20)
"""Joint order with left and right exchanged."""


def children(joint: int) -> list[int]:
    """Joints whose parent is `joint`, in index order."""
    return [j for j, parent in enumerate(PARENTS) if parent == joint]
