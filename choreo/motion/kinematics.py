"""Forward kinematics and the rigid fit of joint positions to the canonical skeleton."""

from dataclasses import dataclass

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


def forward_kinematics(root: NDArray[np.floating], local: NDArray[np.floating]) -> Array:
    """Joint positions from root positions (..., 3) and local rotations (..., 22, 3, 3) -> (..., 22, 3).

    p_j = p_parent + R_parent o_j and R_j = R_parent R_local,j with R_pelvis = R_local,pelvis.
    """
    world = world_rotations(local)
    positions = np.empty((*local.shape[:-3], NUM_JOINTS, 3))
    positions[..., PELVIS, :] = root
    for joint in range(1, NUM_JOINTS):
        parent = PARENTS[joint]
        positions[..., joint, :] = positions[..., parent, :] + world[..., parent, :, :] @ REST_OFFSETS[joint]
    return positions


def world_rotations(local: NDArray[np.floating]) -> Array:
    """Accumulate local rotations (..., 22, 3, 3) down the tree."""
    world = np.empty(local.shape)
    world[..., PELVIS, :, :] = local[..., PELVIS, :, :]
    for joint in range(1, NUM_JOINTS):
        world[..., joint, :, :] = world[..., PARENTS[joint], :, :] @ local[..., joint, :, :]
    return world


def local_rotations(world: NDArray[np.floating]) -> Array:
    """Inverse of `world_rotations`."""
    local = np.empty(world.shape)
    local[..., PELVIS, :, :] = world[..., PELVIS, :, :]
    for joint in range(1, NUM_JOINTS):
        local[..., joint, :, :] = np.swapaxes(world[..., PARENTS[joint], :, :], -1, -2) @ world[..., joint, :, :]
    return local


@dataclass(frozen=True)
class RigidFit:
    """One rotation per joint whose forward kinematics approximates given joint positions.

    Attributes:
        root: (T, 3) pelvis positions, metres.
        local: (T, 22, 3, 3) local rotations; identity at the leaves, whose own rotation positions do not show.
        positions: (T, 22, 3) forward kinematics of the two.
        residual: mean distance between `positions` and the input, metres.
    """

    root: Array
    local: Array
    positions: Array
    residual: float


def fit(positions: NDArray[np.floating]) -> RigidFit:
    """Fit rotations to positions (T, 22, 3).

    Joints with several children (pelvis, chest) are rigid bodies fitted by Procrustes over their children's
    directions; a joint with one child takes the twist-free swing from its parent's frame that points its bone the
    right way. Limb directions are kept, so an error at the hips shifts a leg but does not bend it.
    """
    positions = np.asarray(positions, np.float64)
    world = np.empty((len(positions), NUM_JOINTS, 3, 3))
    for joint in range(NUM_JOINTS):
        kids = children(joint)
        inherited = world[:, PARENTS[joint]] if joint else np.broadcast_to(np.eye(3), (len(positions), 3, 3))
        if not kids:
            world[:, joint] = inherited
            continue
        target = positions[:, kids] - positions[:, [joint]]
        if len(kids) == 1:
            world[:, joint] = rot.shortest_arc(inherited @ REST_OFFSETS[kids[0]], target[:, 0]) @ inherited
        else:
            source, goal = rot.normalize(REST_OFFSETS[kids]), rot.normalize(target)
            weights = np.sqrt(_BODY_WEIGHTS[joint])[:, None]
            world[:, joint] = rot.procrustes(np.broadcast_to(source * weights, goal.shape), goal * weights)
    local = local_rotations(world)
    root = positions[:, PELVIS]
    fitted = forward_kinematics(root, local)
    return RigidFit(root, local, fitted, float(np.linalg.norm(fitted - positions, axis=-1).mean()))


# Hips decide the pelvis and shoulders (collars) the chest: spine and neck directions are the noisier ones in mocap.
_BODY_WEIGHTS = {PELVIS: np.array([1.0, 1.0, 0.5]), CHEST: np.array([0.5, 1.0, 1.0])}


def heading(positions: NDArray[np.floating]) -> Array:
    """Yaw angle (T,) of the facing direction: the horizontal normal of hips and shoulders; 0 faces +z, radians."""
    p = np.asarray(positions, np.float64)
    across = (p[..., L_HIP, :] - p[..., R_HIP, :]) + (p[..., L_SHOULDER, :] - p[..., R_SHOULDER, :])
    # forward = across x up for left = +x: (1,0,0) x (0,1,0) = (0,0,1)
    return np.arctan2(-across[..., 2], across[..., 0])
