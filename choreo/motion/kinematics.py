"""Forward kinematics and the rigid fit of joint positions to the canonical skeleton."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion import rotations as rot
from choreo.motion.skeleton import (
    BONE_LENGTHS,
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
from choreo.motion.twist import steady_swing

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
    """Fit rotations to positions (T, 22, 3), metres, frame by frame; exact if they already are rigid.

    Joints with several children (pelvis, chest) are rigid bodies, fitted to the directions of their children by
    orthogonal Procrustes. A joint with one child gets the rotation from its parent's frame that gives its bone the
    right direction, with steady twist. Directions of limbs are kept, so an error at the hips shifts a leg but does not
    bend it.

    This is for motion that was measured; `rigid_fit.fit_over_time` is for motion that a network made.
    """
    given = np.asarray(positions, np.float64)
    return fitted(given, given[:, PELVIS], fit_rotations_by_level(given, turn_links))


def fit_rotations_by_level(given: Array, turn: Callable[[Array, Level, Array], None]) -> Array:
    """World rotations (T, 22, 3, 3) of positions (T, 22, 3), from the pelvis outwards.

    Args:
        given: positions.
        turn: turns the links of a level in place, as `turn_links` does.
    """
    bodies = {joint: fit_body(given, joint)[0] for joint in BODIES}
    world = np.empty((len(given), NUM_JOINTS, 3, 3))
    for level in LEVELS:
        begin_level(world, level, bodies)
        if level.links:
            base = np.swapaxes(world[:, level.links], -1, -2)
            turn(world, level, turned(base, given[:, level.ends] - given[:, level.links]))
    return world


def fitted(given: Array, root: Array, world: Array) -> RigidFit:
    """A fit with its forward kinematics and its residual."""
    positions = posed(root, world)
    return RigidFit(root, world, positions, float(rot.length(positions - given).mean()))


def begin_level(world: Array, level: Level, bodies: Mapping[int, Array]) -> None:
    """Write rotations (T, 3, 3) of a level's bodies to `world`; to its other joints, for a start, their parent's."""
    for joint in level.joints:
        world[:, joint] = bodies[joint] if joint in bodies else world[:, PARENTS[joint]]


def turn_links(world: Array, level: Level, bones: Array) -> None:
    """Turn the links of a level so that their bones point along `bones` (T, N, 3), given in their present frames."""
    world[:, level.links] = world[:, level.links] @ steady_swing(REST_OFFSETS[level.ends], bones)


def fit_body(given: Array, joint: int) -> tuple[Array, Array]:
    """World rotation (T, 3, 3) and confidence (T,) of a joint of `BODIES` from positions (T, 22, 3), metres."""
    kids, weights = children(joint), np.sqrt(BODIES[joint])[:, None] / BONE_LENGTHS[children(joint)][:, None]
    return fit_shape((given[:, kids] - given[:, [joint]]) * weights, REST_OFFSETS[kids] * weights)


def fit_shape(goal: Array, rest: Array) -> tuple[Array, Array]:
    """Rotations (T, 3, 3) of rest vectors (N, 3) to `goal` (T, N, 3), and how well the goal determines them.

    With the polar form of the covariance, M = R P, the second derivative of the error by a rotation about body axis k
    is tr P - P_kk. The confidence (T,) is the least of the three, each relative to its value at rest, from 0 to 1.
    """
    rotation = rot.procrustes(np.broadcast_to(rest, goal.shape), goal)
    extent = (turned(np.swapaxes(rotation, -1, -2)[:, None], goal) * rest).sum(axis=1)
    at_rest = (rest**2).sum(axis=0)
    sureness = (extent.sum(axis=-1, keepdims=True) - extent) / (at_rest.sum() - at_rest)
    return rotation, np.clip(sureness.min(axis=-1), 0, 1)


BODIES: Final = {PELVIS: np.array([1.0, 1.0, 0.5]), CHEST: np.array([0.5, 1.0, 1.0])}
"""Joints with several children, and what each child counts. The hips weigh most for the pelvis, the collars for the
chest: spine and neck directions are noisier in mocap."""


def turn_chains(world: NDArray[np.floating], before: Array, after: Array, chains: Sequence[Sequence[int]]) -> Array:
    """World rotations (T, 22, 3, 3) after the joints of limbs have moved from positions `before` to `after` (T, 22, 3).

    Each bone is turned by the rotation without twist from its old direction to the new one.

    Args:
        world: rotations before.
        before: positions before.
        after: positions after.
        chains: of equal length, each from the joint where a limb begins to its leaf.
    """
    out = np.array(world, np.float64)
    levels = [list(joints) for joints in zip(*chains, strict=True)]
    for joints, ends in pairwise(levels):
        swing = rot.shortest_arc(before[:, ends] - before[:, joints], after[:, ends] - after[:, joints])
        out[:, joints] = swing @ out[:, joints]
    out[:, levels[-1]] = out[:, levels[-2]]
    return out


def heading(positions: NDArray[np.floating]) -> Array:
    """Yaw angle (T,) of the facing direction: the horizontal normal of hips and shoulders; 0 faces +z, radians."""
    p = np.asarray(positions, np.float64)
    across = (p[..., L_HIP, :] - p[..., R_HIP, :]) + (p[..., L_SHOULDER, :] - p[..., R_SHOULDER, :])
    # forward = across x up for left = +x: (1,0,0) x (0,1,0) = (0,0,1)
    return np.arctan2(-across[..., 2], across[..., 0])
