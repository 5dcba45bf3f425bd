"""A skeleton of any names, axes and proportions, in its rest pose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion.formats.gltf_file import MAX_GLTF_BYTES

Array = NDArray[np.float64]

MAX_RIG_BYTES: Final = MAX_GLTF_BYTES
"""Largest file that is read, of any suffix."""
MAX_RIG_JOINTS: Final = 2048
"""Hair and clothes have joints, too; more than this is no character."""


@dataclass(frozen=True)
class Rig:
    """Joints of one character in the axes and the unit of its file.

    Attributes:
        names: of J joints; two may be equal.
        parents: J joint indices, -1 without one; parents come before their children.
        positions: (J, 3) of the rest pose, in the file's world.
        rotations: (J, 3, 3) world rotations of the rest pose.
        told: joints that the file itself calls by a name of SMPL-22, as VRM does.
        told_spine: joints of the spine that the file itself tells, from below to above.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    positions: Array
    rotations: Array
    told: Mapping[str, int] = field(default_factory=dict)
    told_spine: tuple[int, ...] = ()

    def path(self, joint: int) -> list[int]:
        """The joint and all above it, nearest first."""
        out = [joint]
        while (joint := self.parents[joint]) >= 0:
            out.append(joint)
        return out

    def fork(self, joints: Sequence[int]) -> int | None:
        """The lowest joint that all of them hang on; None if they hang on nothing in common."""
        paths = [set(self.path(joint)) for joint in joints]
        return next((joint for joint in self.path(joints[0]) if all(joint in path for path in paths)), None)

    def below(self, joint: int) -> list[int]:
        """The joint and all that hang on it."""
        inside = {joint}
        for child, parent in enumerate(self.parents):
            if parent in inside:
                inside.add(child)
        return sorted(inside)


@dataclass(frozen=True)
class RigMotion:
    """How a rig moves: joints that are not listed stay as they are relative to their parents.

    Attributes:
        joints: M joints that turn.
        local: (T, M, 3, 3) their rotations, joint to parent.
        root: the joint that travels.
        path: (T, 3) where it is, in the file's world.
        scale: file units that a metre of the dance becomes.
        notes: what was guessed.
    """

    joints: tuple[int, ...]
    local: Array
    root: int
    path: Array
    scale: float
    notes: tuple[str, ...] = ()
