"""Feet at a seam, where one phrase takes over from another, and the body that follows them.

A foot in contact with the floor cannot ease from one place to another like the rest of the body. So the new phrase is
placed where the feet in contact in both phrases fit best. The remaining offset of each foot then decays as that foot
travels: one in contact stays, one that swings lands where the phrase has it. The body moves over the feet in contact,
and two-bone inverse kinematics closes the legs.
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

DECAY_TRAVEL: Final = 0.22
"""Path length of a foot over which its offset decays, metres."""
DECAY_SECONDS: Final = 0.8
"""Time over which the offset decays even if the foot stays in contact."""
CONTACT_SPEED: Final = 0.25
CONTACT_HEIGHT: Final = 0.06
"""A toe with this speed, m/s, or at this height, metres, has contact weight 1/e."""
PATH_WEIGHT: Final = 0.05
"""Weight of the body's own path against that of the feet in contact."""
CLEAR_BEND: Final = 0.005
"""Distance of the knee from the line between hip and ankle from which on it determines its own direction, metres."""
SMALL_SHIFT: Final = 0.01
"""An ankle that is moved further than this gets the knee direction smoothed over BEND_FRAMES (standard deviation), as
noise in a straight leg would otherwise become a bend; metres."""
BEND_FRAMES: Final = 3
_TRUNK: Final = (PELVIS, L_HIP, R_HIP, L_SHOULDER, R_SHOULDER)
_TRUNK_WEIGHT: Final = 0.1

HIPS, KNEES, ANKLES, TOES = (list(joints) for joints in zip(*LEGS, strict=True))


def floor_weight(toes: Array) -> Array:
    """Weight (T, 2), 0 to 1, of how near each toe of (T, 2, 3) is to the floor."""
    return np.exp(-((np.maximum(toes[..., 1], 0) / CONTACT_HEIGHT) ** 2))


def contact_weight(toes: Array) -> Array:
    """Weight (T, 2), 0 to 1, of how near the floor and how still each toe of (T, 2, 3) at 30 fps is."""
    if len(toes) < 2:
        return floor_weight(toes)
    speed = np.linalg.norm(np.gradient(toes[..., [0, 2]], axis=0), axis=-1) * FPS
    return floor_weight(toes) * np.exp(-((speed / CONTACT_SPEED) ** 2))


def placement(old: Array, new: Array, contact: Array) -> tuple[float, Array]:
    """Yaw and horizontal shift (3,) that align a body with another one, mainly at the feet in contact.

    Args:
        old, new: (22, 3) positions; `new` is to be turned about the origin, then shifted.
        contact: (2,) contact weights of the toes in both.
    """
    weight = np.zeros(NUM_JOINTS)
    weight[list(_TRUNK)] = _TRUNK_WEIGHT
    weight[[L_FOOT, R_FOOT]] = contact
    weight /= weight.sum()
    a, b = weight @ old, weight @ new
    x, y = (new - b)[:, [0, 2]], (old - a)[:, [0, 2]]
    # Horn's closed form in the plane; yaw turns +z towards +x.
    sine = (weight * (x[:, 1] * y[:, 0] - x[:, 0] * y[:, 1])).sum()
    cosine = (weight * (x * y).sum(1)).sum()
    angle = float(np.arctan2(sine, cosine))
    return angle, (a - rot.yaw(angle) @ b) * (1, 0, 1)


def offset_decay(toes: Array, fps: float) -> Array:
    """Share (T, 2) of each foot's offset that remains as the toes move along (T, 2, 3); starts at 1 with slope 0."""
    steps = np.linalg.norm(np.diff(toes, axis=0, prepend=toes[:1]), axis=-1)
    spent = np.cumsum(steps, axis=0) / DECAY_TRAVEL + np.arange(len(toes))[:, None] / (DECAY_SECONDS * fps)
    return (1 + spent) * np.exp(-spent)


def place_feet(positions: Array, toes: Array, contact: Array, pull: Array) -> Array:
    """Positions (T, 22, 3) moved so that the toes are at their targets; bones keep their lengths.

    Args:
        positions: of the body, from its rotations.
        toes: (T, 2, 3) targets.
        contact: (T, 2) contact weights: the body moves over the feet in contact.
        pull: (T, 2) share of the remaining distance to the target by which each leg moves its toe.
    """
    share = contact / (contact.sum(1, keepdims=True) + PATH_WEIGHT)
    out = positions + (share[..., None] * (toes - positions[:, TOES])).sum(1, keepdims=True)
    hip, knee, before = out[:, HIPS], out[:, KNEES], out[:, ANKLES]
    foot = out[:, TOES] - before
    target = out[:, TOES] + pull[..., None] * (toes - out[:, TOES])
    ankle = target - foot
    raised = two_bone_ik.raise_heel(hip, ankle, target, two_bone_ik.reach(hip, knee, before, ankle))
    ankle = ankle + contact[..., None] * (raised - ankle)
    axis = rot.normalize(before - hip)
    bend = (knee - hip) - ((knee - hip) * axis).sum(-1, keepdims=True) * axis
    shift = np.linalg.norm(ankle - before, axis=-1, keepdims=True)
    steady = gaussian_filter1d(bend, BEND_FRAMES, axis=0, mode="nearest")
    bend = steady + np.exp(-((shift / SMALL_SHIFT) ** 2)) * (bend - steady)
    forward = bend / CLEAR_BEND + knee_forward(out, ankle, target)
    out[:, KNEES], out[:, ANKLES] = two_bone_ik.solve(hip, knee, before, ankle, forward)
    length = np.linalg.norm(foot, axis=-1, keepdims=True)
    out[:, TOES] = out[:, ANKLES] + length * rot.normalize(target - out[:, ANKLES])
    return out
