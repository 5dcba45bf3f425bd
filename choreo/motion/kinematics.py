"""Forward kinematics and the rigid fit of joint positions to the canonical skeleton."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion import rotations as rot
from choreo.motion.skeleton import (
    CHEST,
    L_HIP,
    L_SHOULDER,
    NUM_JOINTS,
    PARENTS,
    PELVIS,
    R_HIP,
    R_SHOULDER,
    REST_OFFSETS,
    children,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """The joints at one depth of the tree, which depend only on the levels above.

    Attributes:
        joints: all joints of this depth.
        parents: the parent of each, -1 for the pelvis.
        links: the joints with one child.
        ends: the child of each of `links`.
        bodies: the joints with several children.
        leaves: the joints without children.
    """

    joints: list[int]
    parents: list[int]
    links: list[int]
    ends: list[int]
    bodies: list[int]
    leaves: list[int]


def _levels() -> tuple[Level, ...]:
    levels, joints = [], [PELVIS]
    while joints:
        links = [joint for joint in joints if len(children(joint)) == 1]
        ends = [children(joint)[0] for joint in links]
        bodies = [joint for joint in joints if len(children(joint)) > 1]
        leaves = [joint for joint in joints if not children(joint)]
        levels.append(Level(joints, [PARENTS[joint] for joint in joints], links, ends, bodies, leaves))
        joints = [child for joint in joints for child in children(joint)]
    return tuple(levels)


LEVELS: Final = _levels()
"""The tree from the pelvis to the hands, so that a level is one array operation: for short clips, the number of
operations is what takes time."""
_BONES: Final = list(range(1, NUM_JOINTS))
_STARTS: Final = list(PARENTS[1:])


def forward_kinematics(root: NDArray[np.floating], local: NDArray[np.floating]) -> Array:
    """Joint positions from root positions (..., 3) and local rotations (..., 22, 3, 3) -> (..., 22, 3).

    p_j = p_parent + R_parent o_j and R_j = R_parent R_local,j, with rest offsets o_j and R_pelvis = R_local,pelvis.
    """
    return posed(root, world_rotations(local))


def posed(root: NDArray[np.floating], world: NDArray[np.floating]) -> Array:
    """Joint positions from root positions (..., 3) and world rotations (..., 22, 3, 3) -> (..., 22, 3)."""
    positions = np.empty((*world.shape[:-3], NUM_JOINTS, 3))
    positions[..., PELVIS, :] = root
    positions[..., _BONES, :] = turned(world[..., _STARTS, :, :], REST_OFFSETS[_BONES])
    for level in LEVELS[1:]:
        positions[..., level.joints, :] += positions[..., level.parents, :]
    return positions


def turned(rotations: NDArray[np.floating], vectors: NDArray[np.floating]) -> Array:
    """R v for rotations (..., 3, 3) and vectors (..., 3), broadcast."""
    return np.asarray((rotations @ vectors[..., None])[..., 0], np.float64)


def world_rotations(local: NDArray[np.floating]) -> Array:
    """World rotations (..., 22, 3, 3) from local ones, accumulated down the tree."""
    world = np.empty(local.shape)
    world[..., PELVIS, :, :] = local[..., PELVIS, :, :]
    for level in LEVELS[1:]:
        world[..., level.joints, :, :] = world[..., level.parents, :, :] @ local[..., level.joints, :, :]
    return world


def local_rotations(world: NDArray[np.floating]) -> Array:
    """Local rotations (..., 22, 3, 3) from world ones: the inverse of `world_rotations`."""
    local = np.empty(world.shape)
    local[..., PELVIS, :, :] = world[..., PELVIS, :, :]
    local[..., _BONES, :, :] = np.swapaxes(world[..., _STARTS, :, :], -1, -2) @ world[..., _BONES, :, :]
    return local


@dataclass(frozen=True)
class RigidFit:
    """One rotation per joint whose forward kinematics approximates given joint positions.

    Attributes:
        root: (T, 3) pelvis positions, metres.
        world: (T, 22, 3, 3) world rotations; leaves have their parent's, because positions do not determine theirs.
        positions: (T, 22, 3) forward kinematics of the two.
        residual: mean distance between `positions` and the input, metres.
    """

    root: Array
    world: Array
    positions: Array
    residual: float

    @property
    def local(self) -> Array:
        """(T, 22, 3, 3) local rotations; identity at the leaves."""
        return local_rotations(self.world)


def fit(positions: NDArray[np.floating]) -> RigidFit:
    """Fit rotations to positions (T, 22, 3), metres.

    Joints with several children (pelvis, chest) are rigid bodies, fitted to the directions of their children by
    orthogonal Procrustes. A joint with one child gets the twist-free rotation from its parent's frame that gives its
    bone the right direction. Directions of limbs are kept, so an error at the hips shifts a leg but does not bend it.
    """
    positions = np.asarray(positions, np.float64)
    world = np.empty((len(positions), NUM_JOINTS, 3, 3))
    for level in LEVELS:
        if level.joints != [PELVIS]:  # the pelvis has no parent to inherit from
            world[:, level.joints] = world[:, level.parents]
        if level.links:
            swing = rot.shortest_arc(
                turned(world[:, level.links], REST_OFFSETS[level.ends]),
                positions[:, level.ends] - positions[:, level.links],
            )
            world[:, level.links] = swing @ world[:, level.links]
        for joint in level.bodies:
            kids = children(joint)
            source, goal = rot.normalize(REST_OFFSETS[kids]), rot.normalize(positions[:, kids] - positions[:, [joint]])
            weights = np.sqrt(_BODY_WEIGHTS[joint])[:, None]
            world[:, joint] = rot.procrustes(np.broadcast_to(source * weights, goal.shape), goal * weights)
    root = positions[:, PELVIS]
    fitted = posed(root, world)
    return RigidFit(root, world, fitted, float(np.linalg.norm(fitted - positions, axis=-1).mean()))


# The hips weigh most for the pelvis, the collars for the chest: spine and neck directions are noisier in mocap.
_BODY_WEIGHTS = {PELVIS: np.array([1.0, 1.0, 0.5]), CHEST: np.array([0.5, 1.0, 1.0])}


def heading(positions: NDArray[np.floating]) -> Array:
    """Yaw angle (T,) of the facing direction: the horizontal normal of hips and shoulders; 0 faces +z, radians."""
    p = np.asarray(positions, np.float64)
    across = (p[..., L_HIP, :] - p[..., R_HIP, :]) + (p[..., L_SHOULDER, :] - p[..., R_SHOULDER, :])
    # forward = across x up for left = +x: (1,0,0) x (0,1,0) = (0,0,1)
    return np.arctan2(-across[..., 2], across[..., 0])
