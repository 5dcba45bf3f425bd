"""The rigid fit of motion that a network made, which errs in two ways that measured motion does not.

Its errors of single joints do not accumulate here: where a body with several children is replaced by its rigid shape,
the noise of the joints around it no longer cancels along the chain, and feet and hands get about three times their own.
So the root is the mean of the estimates from the pelvis and its children, and each bone points to its given end from
halfway between the given and the fitted position of its start. On mocap with 1 cm of noise the mean error falls from 29
to 17 mm.

And it may hold an average of two motions, in which bodies and bones shrink: hips of 1 cm between a dancer who faces
left and one who faces right, or a forearm of 3 cm that passes through zero. There a direction means nothing, so it
counts by its length (`steady`): trunk, pelvis and chest as rigid bodies, limbs in the frame of the body that they
belong to.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from choreo.motion import rotations as rot
from choreo.motion.folding import unfolded
from choreo.motion.kinematics import (
    BODIES,
    LEVELS,
    Level,
    RigidFit,
    begin_level,
    fit,
    fit_body,
    fit_shape,
    fitted,
    posed,
    turn_links,
    turned,
)
from choreo.motion.skeleton import (
    BONE_LENGTHS,
    CHEST,
    FPS,
    L_FOOT,
    L_HIP,
    L_SHOULDER,
    NECK,
    NUM_JOINTS,
    PARENTS,
    PELVIS,
    R_FOOT,
    R_HIP,
    R_SHOULDER,
    REST_OFFSETS,
    children,
)
from choreo.motion.steady import TRUSTED, steady_directions, steady_rotations

Array = NDArray[np.float64]

TRUST: Final = 0.5
"""Where a bone's start is taken to be: 0 at its given position, which keeps directions; 1 at its fitted position,
which follows given ends."""
KEEP_DIRECTION: Final = (L_FOOT, R_FOOT)
"""Ends of bones whose direction is kept, so that a flat foot stays flat."""
BODY_TURN: Final = np.radians(900.0)
"""Fastest turn of pelvis and chest, radians per second, where they are trusted entirely: 30 degrees a frame at 30 fps.
In mocap they turn by up to 25, but for tracking errors; two and a half pirouettes a second are 30."""
SPINE_TURN: Final = np.radians(450.0)
"""The same for pelvis and chest relative to the trunk."""
LIMB_TURN: Final = np.radians(2400.0)
"""The same for the bones of arms, legs and head relative to the body that they belong to; in mocap up to 2000."""
FASTEST_JOINT: Final = 10.5
"""Speed of a joint above which the bones that lead to it count less if they are too short, m/s. In held-out mocap
joints reach 11.8."""
CALMING_PASSES: Final = 6
CALMING_SECONDS: Final = 0.1
"""How often that is done at most, and how far around the frame, at first."""
STRETCH: Final = 0.3
"""Share of its length by which a bone of a recording changes at most."""
SURE: Final = 0.9
"""Confidence from which on a bone may be as fast as it is."""
_TRUNK: Final = (L_HIP, R_HIP, CHEST, NECK, L_SHOULDER, R_SHOULDER)


def fit_rotations(positions: NDArray[np.floating], fps: float = FPS) -> RigidFit:
    """Fit rotations to positions (T, 22, 3), metres, of any origin.

    Only what a network made has bones that change their lengths. A recording may cut from one pose to the next, and is
    fitted frame by frame.
    """
    given = np.asarray(positions, np.float64)
    lengths = rot.length(given[:, 1:] - given[:, PARENTS[1:]])
    changing = (np.abs(lengths - np.median(lengths, axis=0)) > STRETCH * BONE_LENGTHS[1:]).any()
    return fit_over_time(given, fps) if changing else fit(given)


def fit_over_time(positions: NDArray[np.floating], fps: float = FPS) -> RigidFit:
    """Fit rotations to positions (T, 22, 3), metres, that may hold collapsed bones; exact if they are rigid and calm.

    Args:
        positions: joint positions in consecutive frames.
        fps: frames per second.
    """
    given = np.asarray(positions, np.float64)
    bodies = _steady_bodies(given, fps)
    doubt = np.ones(given.shape[:2])
    for number in range(CALMING_PASSES):
        result, confidence = _fit_limbs(given, bodies, doubt, fps)
        fast = rot.length(np.diff(result.positions, axis=0)) * fps > FASTEST_JOINT
        if not fast.any():
            break
        reach = max(1, round(CALMING_SECONDS * (1 + number / 2) * fps))
        _raise(doubt, maximum_filter1d(fast, 2 * reach + 1, axis=0, mode="nearest"), confidence, number >= 2)
    return result


def _raise(doubt: Array, near: NDArray[np.bool_], confidence: Array, at_last: bool) -> None:
    """Double the doubt (T, 22) in bones that lead to a joint, in frames `near` (T - 1, 22) to where it is too fast.

    At last it is infinite, unless bones of full length say that the dancer is as fast as that.
    """
    for joint in np.flatnonzero(near.any(axis=0)):
        chain, frames = [int(joint)], np.flatnonzero(near[:, joint])
        while PARENTS[chain[-1]] not in BODIES:
            chain.append(PARENTS[chain[-1]])
        at = np.ix_(frames, np.array(chain))
        if not at_last:
            doubt[at] *= 2
        elif (confidence[at] < SURE).any():
            doubt[at] = np.inf


def _fit_limbs(given: Array, bodies: Mapping[int, Array], doubt: Array, fps: float) -> tuple[RigidFit, Array]:
    """The fit with given pelvis and chest, and the confidence in bones (T, 22), which is raised to `doubt` (T, 22)."""
    world, placed, sure = np.empty((len(given), NUM_JOINTS, 3, 3)), np.empty_like(given), np.ones(given.shape[:2])
    around = [PELVIS, *children(PELVIS)]
    placed[:, PELVIS] = (given[:, around] - turned(bodies[PELVIS][:, None], REST_OFFSETS[around])).mean(axis=1)
    for level in LEVELS:
        begin_level(world, level, bodies)
        if level.joints != [PELVIS]:
            bones = turned(world[:, level.parents], REST_OFFSETS[level.joints])
            placed[:, level.joints] = placed[:, level.parents] + bones
        if level.links:
            trust = np.array([0.0 if end in KEEP_DIRECTION else TRUST for end in level.ends])[:, None]
            start = given[:, level.links] + trust * (placed[:, level.links] - given[:, level.links])
            goal = given[:, level.ends] - start
            length = rot.length(given[:, level.ends] - given[:, level.links])
            share = np.minimum(length, rot.length(goal)) / BONE_LENGTHS[level.ends]
            sure[:, level.ends] = np.minimum(share, 1)
            confidence = np.where(np.isinf(doubt), 0, sure**doubt)[:, level.ends]
            turn_links(world, level, _steady_links(world, level, goal, confidence, bodies, fps))
    return fitted(given, placed[:, PELVIS], world), sure


def _steady_links(
    world: Array, level: Level, goal: Array, confidence: Array, bodies: Mapping[int, Array], fps: float
) -> Array:
    """Directions (T, N, 3) of the bones of a level in the present frames of its links.

    They are steady relative to the bodies that they belong to, and elbows and knees are opened to what joints allow.
    """
    frames = np.stack([bodies[_BODY_OF[end]] for end in level.ends], axis=1)
    directions = rot.normalize(turned(np.swapaxes(frames, -1, -2), goal))
    directions = steady_directions(directions, confidence, LIMB_TURN / fps)
    local = turned(np.swapaxes(world[:, level.links], -1, -2) @ frames, directions)
    for bone, end in enumerate(level.ends):
        local[:, bone] = unfolded(local[:, bone], end, fps)
    return local


def _steady_bodies(given: Array, fps: float) -> dict[int, Array]:
    """World rotations (T, 3, 3) of pelvis and chest.

    What they do relative to the trunk as a whole is interpolated where they themselves have collapsed, and the trunk
    where all of it has; there it still leans as its spine does.
    """
    trunk, sure = fit_shape(given[:, _TRUNK] - given[:, _TRUNK].mean(axis=1, keepdims=True), _TRUNK_REST)
    steady = steady_rotations(trunk, sure, BODY_TURN / fps)
    moved = np.abs(steady - trunk).max(axis=(1, 2)) > 0
    steady[moved] = _leaning(steady[moved], given[moved])
    out = {}
    for joint in BODIES:
        rotation, confidence = fit_body(given, joint)
        relative = np.swapaxes(steady, -1, -2) @ rotation
        calm = steady_rotations(relative, np.where(moved, 0.0, confidence), SPINE_TURN / fps)
        changed = np.abs(calm - relative).max(axis=(1, 2)) > 0
        rotation = np.where(changed[:, None, None], steady @ calm, rotation)
        out[joint] = steady_rotations(rotation, np.where(changed, TRUSTED, confidence), BODY_TURN / fps)
    return out


def _leaning(trunk: Array, given: Array) -> Array:
    """Trunk rotations (T, 3, 3) turned so that their spines point as the given ones do."""
    spine = turned(trunk, REST_OFFSETS[[3, 6, 9, 12]].sum(axis=0))
    return rot.shortest_arc(spine, given[:, NECK] - given[:, PELVIS]) @ trunk


def _trunk_rest() -> Array:
    rest = posed(np.zeros(3), np.broadcast_to(np.eye(3), (NUM_JOINTS, 3, 3)))[list(_TRUNK)]
    return rest - rest.mean(axis=0)


def _bodies_of() -> dict[int, int]:
    """For the end of each bone, the body that it belongs to."""
    out: dict[int, int] = {}
    for joint in range(1, NUM_JOINTS):
        parent = PARENTS[joint]
        out[joint] = parent if parent in BODIES else out[parent]
    return out


_TRUNK_REST: Final = _trunk_rest()
_BODY_OF: Final = _bodies_of()
