"""A procedural rig for synthetic dances: from steps and a few body angles to the motion of a rigid body.

Feet are planned first: a foot stands exactly still between its steps, the pelvis follows the feet that carry weight,
and two-bone inverse kinematics places the legs. Angles are in radians, lengths in metres, times in beats.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, minimum_filter1d

from choreo.motion import rotations as rot
from choreo.motion.kinematics import RigidFit, fit, forward_kinematics, turned
from choreo.motion.skeleton import (
    ANKLE_HEIGHT,
    BONE_LENGTHS,
    CHEST,
    L_ANKLE,
    L_HIP,
    L_KNEE,
    LEGS,
    NECK,
    NUM_JOINTS,
    PELVIS,
    REST_OFFSETS,
    SPINE1,
    SPINE2,
)
from choreo.postprocess import two_bone_ik

Array = NDArray[np.float64]

LEFT, RIGHT = 0, 1
STANCE = 0.1
"""Sideways distance of a standing foot from the middle."""
TURN_OUT = 0.15
"""Outward yaw of a standing foot."""
STANDING = ANKLE_HEIGHT - REST_OFFSETS[[L_HIP, L_KNEE, L_ANKLE], 1].sum()
"""Height of the pelvis above the floor with straight legs."""
MAX_LEG = 0.98 * float(BONE_LENGTHS[[L_KNEE, L_ANKLE]].sum())
"""Largest distance from hip to ankle; the pelvis is lowered to keep to it, so that knees never lock."""

_COLLARS, _SHOULDERS, _ELBOWS = (13, 14), (16, 17), (18, 19)
_X, _Y, _Z = np.eye(3)
_MIRROR = np.diag([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Step:
    """One foot leaves the floor at beat `start` and lands at beat `end`.

    Attributes:
        foot: LEFT or RIGHT.
        start: beat.
        end: beat.
        to: x and z of the ankle at the end.
        yaw: direction of the foot at the end; 0 is +z.
        lift: height of the ankle half-way, above a straight line.
        height: of the ankle at the end above that of a flat foot, for kicks and raised knees.
        pitch: of the foot at the end, toes down.
        load: share of the weight that the foot carries afterwards; little for a touch.
    """

    foot: int
    start: float
    end: float
    to: tuple[float, float]
    yaw: float = 0.0
    lift: float = 0.1
    height: float = 0.0
    pitch: float = 0.0
    load: float = 1.0


@dataclass
class Arm:
    """Angles (T,) of one arm, mirrored between left and right; all zero is a T pose.

    Attributes:
        raised: sideways elevation; -1.4 hangs down, 1.4 is overhead.
        swing: forward swing of a hanging arm.
        across: forward movement of a level arm, to in front of the chest.
        twist: rotation of the elbow's plane; at 1.5 a bent forearm points up instead of forwards.
        bend: of the elbow.
    """

    raised: Array
    swing: Array
    across: Array
    twist: Array
    bend: Array


@dataclass
class Score:
    """A dance as steps and body angles (T,), which are added to what follows from the steps.

    Attributes:
        beats: (T,) beats elapsed at each frame.
        steps: of both feet.
        arms: left and right.
        bend: metres by which the pelvis is lowered; negative in a jump.
        sway: shift of weight towards the left foot, -1..1.
        hips, roll: additional yaw of the pelvis, and raising of the left hip.
        twist, lean, tilt: of the chest against the pelvis: yaw, forwards, to the left.
    """

    beats: Array
    steps: list[Step]
    arms: tuple[Arm, Arm]
    bend: Array
    sway: Array = field(default_factory=lambda: np.zeros(1))
    hips: Array = field(default_factory=lambda: np.zeros(1))
    roll: Array = field(default_factory=lambda: np.zeros(1))
    twist: Array = field(default_factory=lambda: np.zeros(1))
    lean: Array = field(default_factory=lambda: np.zeros(1))
    tilt: Array = field(default_factory=lambda: np.zeros(1))


@dataclass(frozen=True)
class Feet:
    """Ankles (T, 2, 3), yaw and pitch of the feet (T, 2), and the share of weight on each (T, 2)."""

    ankles: Array
    yaw: Array
    pitch: Array
    load: Array


def perform(score: Score, frames_per_beat: float) -> RigidFit:
    """Motion of the canonical skeleton; the pelvis starts at x = z = 0."""
    feet = plan_feet(score.steps, score.beats)
    sigma = 0.16 * frames_per_beat
    turn = _smooth(feet.yaw.mean(1), sigma) + score.hips
    pelvis = rot.yaw(turn) @ rot.axis_angle(_Z, np.broadcast_to(score.roll, turn.shape))
    root = _root(score, feet, pelvis, sigma)
    local = upper_body(score, pelvis)
    positions = forward_kinematics(root, local)
    place_legs(positions, feet, turn)
    positions[..., [0, 2]] -= root[0, [0, 2]]
    return fit(positions)


def plan_feet(steps: Sequence[Step], beats: Array) -> Feet:
    """The feet at each beat of (T,); at first they stand left and right of the origin."""
    count = len(beats)
    ankles, yaw, pitch, load = np.zeros((count, 2, 3)), np.zeros((count, 2)), np.zeros((count, 2)), np.ones((count, 2))
    for foot, side in ((LEFT, 1.0), (RIGHT, -1.0)):
        out = side * TURN_OUT
        at = np.array([side * STANCE, ANKLE_HEIGHT, 0.0, out, 0.0])
        track = np.broadcast_to(at, (count, 5)).copy()
        for step in sorted((s for s in steps if s.foot == foot), key=lambda s: s.start):
            u = np.clip((beats - step.start) / (step.end - step.start), 0, 1)
            goal = np.array([step.to[0], ANKLE_HEIGHT + step.height, step.to[1], step.yaw + out, step.pitch])
            # Up first, then across, then down: a foot that skims the floor looks as if it slid.
            across, up = _ease(np.clip((u - 0.06) / 0.88, 0, 1)), np.sin(np.pi * u) ** 2
            track += np.where(np.arange(5) == 1, _ease(u)[:, None], across[:, None]) * (goal - at)
            at = goal
            track[:, 1] += step.lift * up
            track[:, 4] += 2 * step.lift * np.sin(np.pi * u) ** 2  # the toes hang a little
            load[:, foot] = np.where(u > 0, np.where(u < 1, 0.0, step.load), load[:, foot])
        ankles[:, foot], yaw[:, foot], pitch[:, foot] = track[:, :3], track[:, 3], track[:, 4]
    return Feet(ankles, yaw, pitch, load)


def _root(score: Score, feet: Feet, pelvis: Array, sigma: float) -> Array:
    """Pelvis (T, 3): above the centre of weight, lowered by `bend`, and low enough for both legs to reach the feet."""
    weight = feet.load + 1e-3
    weight = _smooth(weight / weight.sum(1, keepdims=True), sigma)
    weight = 0.2 + 0.6 * weight + 0.2 * score.sway[:, None] * (1, -1)
    root = _smooth((weight[..., None] * feet.ankles).sum(1), 0.6 * sigma)
    hips = (pelvis[:, None] @ REST_OFFSETS[[1, 2], :, None])[..., 0]
    away = np.linalg.norm((root[:, None] + hips - feet.ankles)[..., [0, 2]], axis=-1)
    reachable = feet.ankles[..., 1] + np.sqrt(np.maximum(MAX_LEG**2 - away**2, 0.05)) - hips[..., 1]
    wanted = np.minimum(STANDING - 0.015 - score.bend, reachable.min(1))
    # A smoothed running minimum stays below the values themselves.
    root[:, 1] = _smooth(minimum_filter1d(wanted, 5, mode="nearest"), 1.0)
    return root


def upper_body(score: Score, pelvis: Array) -> Array:
    """Local rotations (T, 22, 3, 3) with straight legs."""
    local = np.broadcast_to(np.eye(3), (len(pelvis), NUM_JOINTS, 3, 3)).copy()
    local[:, PELVIS] = pelvis
    chest = (np.broadcast_to(angle, pelvis.shape[:1]) / 3 for angle in (score.twist, score.lean, score.tilt))
    twist, lean, tilt = chest
    third = rot.yaw(twist) @ rot.axis_angle(_X, lean) @ rot.axis_angle(-_Z, tilt)
    local[:, [SPINE1, SPINE2, CHEST]] = third[:, None]
    # The head keeps looking ahead while the chest turns and leans.
    local[:, NECK] = rot.yaw(-1.5 * twist) @ rot.axis_angle(_X, -1.8 * lean + 0.05) @ rot.axis_angle(_Z, tilt)
    for side, arm in enumerate(score.arms):
        mirror = _MIRROR if side == RIGHT else np.eye(3)
        collar, shoulder, elbow = _arm(arm)
        local[:, _COLLARS[side]] = mirror @ collar @ mirror
        local[:, _SHOULDERS[side]] = mirror @ shoulder @ mirror
        local[:, _ELBOWS[side]] = mirror @ elbow @ mirror
    return local


def _arm(arm: Arm) -> tuple[Array, Array, Array]:
    """Rotations (T, 3, 3) of collar, shoulder and elbow of a left arm, which points to +x in the rest pose."""
    collar = rot.axis_angle(_Z, 0.25 * np.clip(arm.raised + 0.4, 0, None) * np.ones_like(arm.bend))
    shoulder = (
        rot.axis_angle(-_Y, arm.across)
        @ rot.axis_angle(-_X, arm.swing)
        @ rot.axis_angle(_Z, arm.raised - 0.25 * np.clip(arm.raised + 0.4, 0, None))
        @ rot.axis_angle(-_X, arm.twist)
    )
    return collar, shoulder, rot.axis_angle(-_Y, arm.bend)


def place_legs(positions: Array, feet: Feet, turn: Array) -> None:
    """Bend the straight legs of positions (T, 22, 3), in place, so that the ankles meet the feet."""
    hips, knees, ankles, toes = (list(joints) for joints in zip(*LEGS, strict=True))
    facing = 0.5 * (turn[:, None] + feet.yaw)
    forward = np.stack([np.sin(facing), np.zeros_like(facing), np.cos(facing)], axis=-1)
    straight = positions[:, hips] - _Y * BONE_LENGTHS[L_KNEE]
    positions[:, knees], positions[:, ankles] = two_bone_ik.solve(
        positions[:, hips], straight, straight - _Y * BONE_LENGTHS[L_ANKLE], feet.ankles, forward
    )
    foot = rot.yaw(feet.yaw) @ rot.axis_angle(_X, feet.pitch)
    positions[:, toes] = positions[:, ankles] + turned(foot, REST_OFFSETS[toes])


def _ease(u: Array) -> Array:
    """0 to 1 with zero velocity and acceleration at both ends."""
    return u**3 * (u * (6 * u - 15) + 10)


def _smooth(x: Array, sigma: float) -> Array:
    return gaussian_filter1d(x, sigma, axis=0, mode="nearest")
