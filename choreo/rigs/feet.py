"""Feet of a rig on the floor: where the source's foot stands, so does the rig's, and it does not slide.

Legs of other proportions put feet elsewhere although every bone points the same way. Each foot gets a correction:
upwards so that it is as high over its flat height as the source's is, and sideways so that it moves as the source's
does while that one stands. The body takes over what the carrying foot needs, so that most of it changes no direction of
a limb, and two-bone inverse kinematics does the rest.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from choreo.motion import rotations as rot
from choreo.motion.skeleton import LEGS
from choreo.postprocess import two_bone_ik
from choreo.postprocess.contacts import FLAT_HEIGHTS, detect_contacts, spans
from choreo.postprocess.floor import smooth_envelope
from choreo.postprocess.foot_lock import knee_forward

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

CARRIES: Final = 0.02
"""A foot this much higher than the other counts 1 / e for the body's height, metres."""
FREE: Final = (0.15, 0.4)
"""Heights over which a foot comes to move with the body and no longer with the floor, metres."""
ROOT_SECONDS: Final = 0.08
"""Standard deviation of the time over which the body takes over a correction."""
MAX_SHIFT: Final = 0.08
"""Largest sideways correction of a foot, metres; the foot lock of finished dances has the same."""
MAX_SINK: Final = 0.08
"""Most that the body sinks where a leg would not reach, metres."""
SINK_SECONDS: Final = 0.3
SUNK: Final = 0.01
"""Most that a foot sinks into the floor, metres: finished dances have feet that roll as far."""
STRAIGHT: Final = 0.005
"""A knee closer than this to the line from hip to ankle hardly shows which way it bends, metres."""

_HIPS, _KNEES, _ANKLES, _TOES = (list(joints) for joints in zip(*LEGS, strict=True))


@dataclass(frozen=True)
class Legs:
    """Joints of both legs over time, metres of the canonical size, and their heights when feet are flat.

    Attributes:
        hip, knee, ankle, toe: (T, 2, 3), left and right.
        flat: (2, 2) height of ankle and toe of each foot over the floor in the rest pose.
    """

    hip: Array
    knee: Array
    ankle: Array
    toe: Array
    flat: Array


@dataclass(frozen=True)
class Grounded:
    """Where a body has to go: `shift` (T, 3) of the whole, and `knee` and `ankle` (T, 2, 3) with that shift."""

    shift: Array
    knee: Array
    ankle: Array


def ground(source: Array, legs: Legs, fps: float) -> Grounded:
    """Put a rig's feet where the source's are.

    Args:
        source: (T, 22, 3) of the canonical skeleton, metres, floor at y = 0.
        legs: of the rig in the same pose, with its hips where the source's are.
        fps: frames per second.
    """
    # A recording may sink into the floor; the rig does not.
    height = np.maximum(_over_floor(source[:, _ANKLES], source[:, _TOES], FLAT_HEIGHTS.reshape(2, 2).T), -SUNK)
    rise = height - _over_floor(legs.ankle, legs.toe, legs.flat)
    slide = _slides(source, legs, fps)
    carries = np.exp(-(height - height.min(axis=1, keepdims=True)) / CARRIES)
    carries /= carries.sum(axis=1, keepdims=True)
    down = 1 - _smoothstep((height - FREE[0]) / (FREE[1] - FREE[0]))
    sure = down.max(axis=1)[:, None]
    shift = np.empty((len(source), 3))
    shift[:, [0, 2]] = sure * gaussian_filter1d(
        (carries[..., None] * slide).sum(axis=1), ROOT_SECONDS * fps, axis=0, mode="nearest"
    )
    shift[:, 1] = sure[:, 0] * (carries * rise).sum(axis=1)
    wanted = np.stack([slide[..., 0], rise, slide[..., 1]], axis=-1)
    goal = legs.ankle + down[..., None] * wanted + (1 - down[..., None]) * shift[:, None]
    hip, knee, ankle = (joint + shift[:, None] for joint in (legs.hip, legs.knee, legs.ankle))
    sink = _sink(hip, knee, ankle, goal, down, fps)
    for joint in (shift[:, None], hip, knee, ankle):
        joint[..., 1] -= sink[:, None]
    goal[..., 1] -= (1 - down) * sink[:, None]
    knee, ankle = two_bone_ik.solve(hip, knee, ankle, goal, _bends_towards(source), fps)
    return Grounded(shift, knee, ankle)


def _bends_towards(source: Array) -> Array:
    """Where knees point (T, 2, 3): where the source's do, and forward where those are too straight to say."""
    hip, knee, ankle = (source[:, joints] for joints in (_HIPS, _KNEES, _ANKLES))
    axis, thigh = rot.normalize(ankle - hip), knee - hip
    pole = thigh - rot.dot(thigh, axis)[..., None] * axis
    return pole + STRAIGHT * rot.normalize(knee_forward(source, ankle, source[:, _TOES]))


def _over_floor(ankle: Array, toe: Array, flat: Array) -> Array:
    """How far (T, 2) each foot is above where it would stand flat; `flat` (2, 2) is of ankle and toe of each foot."""
    return np.asarray(np.minimum(ankle[..., 1] - flat[:, 0], toe[..., 1] - flat[:, 1]))


def _smoothstep(x: Array) -> Array:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _slides(source: Array, legs: Legs, fps: float) -> Array:
    """Sideways corrections (T, 2, 2), x and z, of both feet.

    While a foot stands, the correction cancels what its toe, or its ankle while only the heel is down, moves more than
    the source's does; it is 0 on average over the time that the foot stands. In between it passes smoothly from one to
    the other.
    """
    contacts = detect_contacts(source, fps)
    out = np.zeros((len(source), 2, 2))
    for side in range(2):
        ankle, toe = contacts[:, side], contacts[:, 2 + side]
        step = np.where(
            (toe[1:] & toe[:-1])[:, None],
            _step(source[:, _TOES[side]]) - _step(legs.toe[:, side]),
            _step(source[:, _ANKLES[side]]) - _step(legs.ankle[:, side]),
        )
        path = np.concatenate([np.zeros((1, 2)), np.cumsum(step, axis=0)])
        out[:, side] = _passing(path, ankle | toe)
    size = rot.length(out)[..., None]
    return out * (MAX_SHIFT * np.tanh(size / MAX_SHIFT) / np.maximum(size, 1e-9))


def _step(joint: Array) -> Array:
    return np.diff(joint[:, [0, 2]], axis=0)


def _passing(path: Array, stands: Bools) -> Array:
    """`path` (T, 2) less its mean in every run of `stands` (T,), and smooth transitions between the runs."""
    out, known = np.zeros_like(path), np.flatnonzero(stands)
    if not len(known):
        return out
    for first, last in spans(stands):
        out[first : last + 1] = path[first : last + 1] - path[first : last + 1].mean(axis=0)
    frames = np.arange(len(path))
    place = np.searchsorted(known, frames, side="right") - 1
    before, after = known[np.maximum(place, 0)], known[np.minimum(place + 1, len(known) - 1)]
    share = _smoothstep((frames - before) / np.maximum(after - before, 1))[:, None]
    between = out[before] + share * (out[after] - out[before])
    return np.where(stands[:, None], out, between)


def _sink(hip: Array, knee: Array, ankle: Array, goal: Array, down: Array, fps: float) -> Array:
    """How far (T,) the body has to sink so that legs reach the goals of feet that are near to the floor, metres."""
    _, longest = two_bone_ik.reach_limit(hip, knee, ankle)
    reach = goal - hip
    drop = np.sqrt(np.maximum(longest**2 - reach[..., 0] ** 2 - reach[..., 2] ** 2, 0))
    need = (down * np.clip(-reach[..., 1] - drop, 0, MAX_SINK)).max(axis=1)
    return smooth_envelope(need, SINK_SECONDS, fps)
