"""Feet at a seam: where each foot goes while one phrase takes over from another, and the body that follows.

A foot that stands cannot ease from one place to another like the rest of the body. So the new phrase is put on the
floor where the standing feet of both phrases fit best; what is then left between a foot's place and the phrase's fades
as that foot travels: one that stands stays, one that swings comes down where the phrase wants it. The body moves over
the feet that stand, and two-bone inverse kinematics does the rest.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from choreo.motion import rotations as rot
from choreo.motion.skeleton import FPS, L_FOOT, L_HIP, L_SHOULDER, LEGS, NUM_JOINTS, PELVIS, R_FOOT, R_HIP, R_SHOULDER
from choreo.postprocess import two_bone_ik
from choreo.postprocess.foot_lock import knee_forward

Array = NDArray[np.float64]

TRAVEL: Final = 0.22
"""Way of a foot on which its offset fades, metres."""
PATIENCE: Final = 0.8
"""Time in which it fades even where the foot stands, seconds."""
STANDING_SPEED: Final = 0.25
STANDING_HEIGHT: Final = 0.06
"""A toe with this speed, m/s, or at this height, metres, stands with weight 1/e."""
AFLOAT: Final = 0.05
"""Weight with which a body keeps its own path against that of the feet it stands on."""
TELLING_KNEE: Final = 0.005
"""A knee this far from the line between hip and ankle says itself which way it bends, metres."""
UNMOVED: Final = 0.01
"""Where an ankle moves further than this, the way a knee bends is the mean over BEND_FRAMES (standard deviation): what
was noise in a straight leg would become a bend."""
BEND_FRAMES: Final = 3
_TRUNK: Final = (PELVIS, L_HIP, R_HIP, L_SHOULDER, R_SHOULDER)
_TRUNK_WEIGHT: Final = 0.1

HIPS, KNEES, ANKLES, TOES = (list(joints) for joints in zip(*LEGS, strict=True))


def low(toes: Array) -> Array:
    """How far (T, 2) each toe of (T, 2, 3) is down on the floor, 0 to 1."""
    return np.exp(-((np.maximum(toes[..., 1], 0) / STANDING_HEIGHT) ** 2))


def standing(toes: Array) -> Array:
    """How far (T, 2) each toe of (T, 2, 3) at 30 fps stands, 0 to 1: down on the floor, and still."""
    if len(toes) < 2:
        return low(toes)
    speed = np.linalg.norm(np.gradient(toes[..., [0, 2]], axis=0), axis=-1) * FPS
    return low(toes) * np.exp(-((speed / STANDING_SPEED) ** 2))


def placement(old: Array, new: Array, stands: Array) -> tuple[float, Array]:
    """Yaw and horizontal shift (3,) that put a body on the place of another one, their standing feet first.

    Args:
        old, new: (22, 3) positions; `new` is turned about the origin, then shifted.
        stands: (2,) how far the toes stand in both.
    """
    weight = np.zeros(NUM_JOINTS)
    weight[list(_TRUNK)] = _TRUNK_WEIGHT
    weight[[L_FOOT, R_FOOT]] = stands
    weight /= weight.sum()
    a, b = weight @ old, weight @ new
    x, y = (new - b)[:, [0, 2]], (old - a)[:, [0, 2]]
    # Horn's closed form in the plane; yaw turns +z towards +x.
    sine = (weight * (x[:, 1] * y[:, 0] - x[:, 0] * y[:, 1])).sum()
    cosine = (weight * (x * y).sum(1)).sum()
    angle = float(np.arctan2(sine, cosine))
    return angle, (a - rot.yaw(angle) @ b) * (1, 0, 1)


def fading(toes: Array, fps: float) -> Array:
    """What is left (T, 2) of each foot's offset at a seam while the toes go along (T, 2, 3); 1, without slope, at 0."""
    steps = np.linalg.norm(np.diff(toes, axis=0, prepend=toes[:1]), axis=-1)
    spent = np.cumsum(steps, axis=0) / TRAVEL + np.arange(len(toes))[:, None] / (PATIENCE * fps)
    return (1 + spent) * np.exp(-spent)


def stood(positions: Array, toes: Array, stands: Array, held: Array) -> Array:
    """Positions (T, 22, 3) moved so that the feet are where they should be; bones keep their lengths.

    Args:
        positions: of the body by its rotations.
        toes: (T, 2, 3) where the toes should be.
        stands: (T, 2) how far each foot stands: the body moves over the feet that do.
        held: (T, 2) how far each leg, after that, brings its toe to its place.
    """
    share = stands / (stands.sum(1, keepdims=True) + AFLOAT)
    out = positions + (share[..., None] * (toes - positions[:, TOES])).sum(1, keepdims=True)
    hip, knee, was = out[:, HIPS], out[:, KNEES], out[:, ANKLES]
    foot = out[:, TOES] - was
    target = out[:, TOES] + held[..., None] * (toes - out[:, TOES])
    ankle = target - foot
    raised = two_bone_ik.raise_heel(hip, ankle, target, two_bone_ik.reach(hip, knee, was, ankle))
    ankle = ankle + stands[..., None] * (raised - ankle)
    axis = rot.normalize(was - hip)
    bend = (knee - hip) - ((knee - hip) * axis).sum(-1, keepdims=True) * axis
    moved = np.linalg.norm(ankle - was, axis=-1, keepdims=True)
    steady = gaussian_filter1d(bend, BEND_FRAMES, axis=0, mode="nearest")
    bend = steady + np.exp(-((moved / UNMOVED) ** 2)) * (bend - steady)
    forward = bend / TELLING_KNEE + knee_forward(out, ankle, target)
    out[:, KNEES], out[:, ANKLES] = two_bone_ik.solve(hip, knee, was, ankle, forward)
    length = np.linalg.norm(foot, axis=-1, keepdims=True)
    out[:, TOES] = out[:, ANKLES] + length * rot.normalize(target - out[:, ANKLES])
    return out
