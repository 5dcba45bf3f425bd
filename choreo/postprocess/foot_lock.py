"""Contact-gated foot lock: feet in contact do not slide, and the legs follow by inverse kinematics.

1. While a toe is in contact, its foot is moved so that the toe rests on one spot, the geometric median of its path.
   Between contacts the correction fades along a cubic Hermite curve, so positions and velocities are continuous.
2. While an ankle is in contact it is held in the same way, which fixes the foot's heading and pitch.
3. Swinging feet are kept above the floor.
4. Where a leg does not reach its target, the pelvis sinks a little and the heel of a planted foot rises.
5. Two-bone inverse kinematics moves hips, knees and ankles; bone lengths do not change.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from choreo.motion import rotations as rot
from choreo.motion.skeleton import ANKLE_HEIGHT, FPS, LEGS, SPINE1, TOE_HEIGHT
from choreo.postprocess import two_bone_ik
from choreo.postprocess.contacts import spans
from choreo.postprocess.floor import BODY, lift_above, smooth_envelope

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

BLEND_SECONDS: Final = 0.2
"""Duration of the fade of a correction before and after a contact."""
MAX_CORRECTION: Final = 0.08
"""Largest horizontal correction of a foot, metres: one that moves farther while in contact glides on purpose."""
MAX_TURN: Final = 0.03
"""The same for an ankle whose toe is planted; more would visibly turn the foot about its toe."""
MEDIAN_STEPS: Final = 8
"""Iterations for the geometric median."""
MAX_BLEND_SPEED: Final = 0.7
"""Largest speed at which a fading correction starts, m/s."""
DROP_SECONDS: Final = 0.3
"""Time over which the pelvis sinks and rises again."""
MAX_DROP: Final = 0.008
"""Largest drop of the pelvis, metres; beyond it a heel rises instead."""
ANKLE_REST: Final = (ANKLE_HEIGHT, ANKLE_HEIGHT + 0.02)
"""Range of heights at which an ankle in contact is held, metres: foot flat, or heel slightly raised."""
TOE_REST: Final = (TOE_HEIGHT - 0.005, TOE_HEIGHT + 0.015)
"""The same for a toe."""
LOW_SWING: Final = 0.1
"""A toe below this height keeps it when the pelvis sinks; at twice the height it sinks along, metres."""
MIN_ANKLE: Final = 0.045
MIN_TOE: Final = 0.005
"""Smallest heights of ankles and toes, metres."""

HIPS, KNEES, ANKLES, TOES = (list(joints) for joints in zip(*LEGS, strict=True))


def lock_feet(
    positions: NDArray[np.floating],
    contacts: Bools,
    fps: float = FPS,
    lift: Array | None = None,
    given: Bools | None = None,
) -> Array:
    """Hold feet in contact still.

    Args:
        positions: (T, 22, 3) metres, floor at y = 0.
        contacts: (T, 4) of CONTACT_JOINTS: both ankles, both toes.
        fps: frames per second.
        lift: (T, 2) how far to raise feet that swing, metres.
        given: (T,) frames that must not move; around them corrections fade.
    Returns:
        Positions (T, 22, 3) in which every bone is as long as it was in the same frame. Only leg joints and,
        vertically, the whole body have moved.
    """
    out = np.array(positions, np.float64)
    ankle, toe, planted, corrected = _foot_targets(out, contacts, fps)
    if lift is not None:
        raised = lift * (1 - corrected)
        ankle[..., 1] += raised
        toe[..., 1] += raised
    free = np.ones((len(out), 1)) if given is None else 1 - _fade(given[:, None], fps)
    ankle = out[:, ANKLES] + free[..., None] * (ankle - out[:, ANKLES])
    toe = out[:, TOES] + free[..., None] * (toe - out[:, TOES])
    planted = free * planted
    shift = free * _pelvis_shift(out, ankle, fps)[:, None]
    out[..., 1] += shift
    # A high kick moves with the body, or the leg would have to bend; a foot that swings low keeps its height.
    kick = np.clip((toe[..., 1] - LOW_SWING) / LOW_SWING, 0, 1) * (1 - corrected)
    ankle[..., 1] += kick * shift
    toe[..., 1] += kick * shift
    hip, knee, was = out[:, HIPS], out[:, KNEES], out[:, ANKLES]
    heel_up = two_bone_ik.raise_heel(hip, ankle, toe, two_bone_ik.reach(hip, knee, was, ankle))
    ankle += planted[..., None] * (heel_up - ankle)
    forward = knee_forward(out, ankle, toe)
    out[:, KNEES], out[:, ANKLES] = two_bone_ik.solve(hip, knee, was, ankle, forward, fps)
    foot = rot.length(positions[:, TOES] - positions[:, ANKLES])[..., None]
    out[:, TOES] = out[:, ANKLES] + foot * rot.normalize(toe - out[:, ANKLES])
    if given is not None:
        out[given] = positions[given]
    return out


def _foot_targets(positions: Array, contacts: Bools, fps: float) -> tuple[Array, Array, Array, Array]:
    """Targets of ankles and toes (T, 2, 3), and weights (T, 2): toe planted; foot in, or close to, any contact."""
    ankle, toe = positions[:, ANKLES].copy(), positions[:, TOES].copy()
    length = rot.length(toe - ankle)[..., None]
    on_ankle, on_toe = contacts[:, :2], contacts[:, 2:]
    for side in range(2):
        shift = _correction(toe[:, side], on_toe[:, side], TOE_REST, np.full(len(toe), MAX_CORRECTION), fps)
        toe[:, side] += shift
        ankle[:, side] += shift
    weight = _fade(on_toe, fps)
    planted = weight[..., None]
    for side in range(2):
        longest = MAX_CORRECTION + weight[:, side] * (MAX_TURN - MAX_CORRECTION)
        shift = _correction(ankle[:, side], on_ankle[:, side], ANKLE_REST, longest, fps)
        ankle[:, side] += shift
        # A foot on its heel moves as a whole; if the toe is planted, the foot turns about it.
        toe[:, side] += (1 - planted[:, side]) * shift
    ankle[..., 1] = _above(ankle[..., 1], MIN_ANKLE)
    toe[..., 1] = _above(toe[..., 1], MIN_TOE)
    # Restore the foot's length by moving the ankle if the toe is planted, else the toe.
    direction = toe - ankle
    excess = direction - length * rot.normalize(direction)
    return ankle + planted * excess, toe - (1 - planted) * excess, weight, _fade(on_ankle | on_toe, fps)


def _correction(path: Array, contact: Bools, heights: tuple[float, float], longest: Array, fps: float) -> Array:
    """Displacement (T, 3) that holds `path` (T, 3) on one spot per contact and fades in between.

    Its horizontal part is at most `longest` (T,) metres during contacts.
    """
    out = np.zeros_like(path)
    runs = spans(contact)
    if not len(runs):
        return out
    held, counts = path[contact], runs[:, 1] - runs[:, 0] + 1
    spots = _anchors(held, np.cumsum(counts) - counts, heights)
    out[contact] = _limited(np.repeat(spots, counts, axis=0) - held, longest[contact])
    times, values, slopes = _fading(out, runs, max(2, round(BLEND_SECONDS * fps)), MAX_BLEND_SPEED / fps)
    swing = np.flatnonzero(~contact)
    swing = swing[(swing > times[0]) & (swing < times[-1])]
    out[swing] = hermite(swing, times, values, slopes)
    return out


def hermite(at: NDArray[np.int64], times: NDArray[np.int64], values: Array, slopes: Array) -> Array:
    """Cubic Hermite curve (N, D) at frames `at` (N,), within knots `times` (K,) of `values` and `slopes` (K, D).

    The constructor of SciPy's takes longer than the curve.
    """
    knot = np.searchsorted(times, at, side="right") - 1
    span = (times[knot + 1] - times[knot])[:, None]
    s = (at - times[knot])[:, None] / span
    rise = values[knot + 1] - values[knot]
    start, stop = span * slopes[knot] - rise, rise - span * slopes[knot + 1]
    return np.asarray(values[knot] + s * rise + s * (1 - s) * ((1 - s) * start + s * stop))


def _fading(held: Array, runs: NDArray[np.int64], blend: int, fastest: float) -> tuple[NDArray[np.int64], Array, Array]:
    """Knots (K,), values and slopes (K, 3) of a curve through displacements `held` (T, 3) at the ends of each run.

    It is 0 farther than `blend` frames from any run.
    """
    knots: list[tuple[int, Array, Array]] = []
    rest = np.zeros(3)
    for first, last in runs.tolist():
        step = min(2, last - first)
        gap = first - knots[-1][0] if knots else 3 * blend
        if knots and gap >= 2 * blend:
            knots.append((knots[-1][0] + blend, rest, rest))
        if gap > 2 * blend:
            knots.append((first - blend, rest, rest))
        start = (held[first + step] - held[first]) / max(step, 1)
        knots.append((first, held[first], _capped(start, fastest)))
        if step:
            stop = (held[last] - held[last - step]) / step
            knots.append((last, held[last], _capped(stop, fastest)))
    knots.append((knots[-1][0] + blend, rest, rest))
    times, values, slopes = zip(*knots, strict=True)
    return np.array(times), np.array(values), np.array(slopes)


def _anchors(held: Array, starts: NDArray[np.int64], heights: tuple[float, float]) -> Array:
    """The spots (K, 3) where contacts are held: geometric medians of their paths, at heights in the given range.

    Unlike the mean they are robust to how the foot arrives and leaves, and unlike the median of each coordinate they
    are equivariant under rotation. Computed by Weiszfeld's iteration (1937).

    Args:
        held: (N, 3) the paths of K contacts, one after another.
        starts: (K,) where each begins.
        heights: lowest and highest.
    """
    ground, counts = held[:, 0] + 1j * held[:, 2], np.diff(np.r_[starts, len(held)])
    spot = np.add.reduceat(ground, starts) / counts
    for _ in range(MEDIAN_STEPS):
        weight = 1 / (np.abs(ground - np.repeat(spot, counts)) + 1e-3)
        spot = np.add.reduceat(weight * ground, starts) / np.add.reduceat(weight, starts)
    ordered = held[np.lexsort((held[:, 1], np.repeat(np.arange(len(starts)), counts))), 1]
    middle = (ordered[starts + (counts - 1) // 2] + ordered[starts + counts // 2]) / 2
    return np.stack([spot.real, np.clip(middle, *heights), spot.imag], axis=1)


def _limited(shift: Array, longest: Array) -> Array:
    """Displacements (N, 3) whose horizontal parts are smoothly compressed to stay below `longest` (N,), metres."""
    size = rot.length(shift[:, [0, 2]])
    knee = 0.7 * longest
    room = longest - knee
    bent = np.where(size > knee, knee + room * np.tanh((size - knee) / room), size)
    scale = (bent / np.maximum(size, 1e-12))[:, None]
    return np.where([True, False, True], shift * scale, shift)


def _capped(v: Array, longest: float) -> Array:
    return v * min(1.0, longest / max(math.sqrt(v @ v), 1e-12))


def _fade(flags: Bools, fps: float) -> Array:
    """Weights (T, K): 1 where `flags` holds, falling to 0 within the blend time around it."""
    half = max(1, round(BLEND_SECONDS * fps / 2))
    wide = maximum_filter1d(flags.astype(np.float64), 2 * half + 1, axis=0, mode="nearest")
    return uniform_filter1d(wide, 2 * half + 1, axis=0, mode="nearest")


def _above(height: Array, lowest: float) -> Array:
    """Heights raised above `lowest` by a smooth maximum of 5 mm softness, metres."""
    over = height - lowest
    return lowest + (over + np.sqrt(over**2 + 0.005**2)) / 2


def _pelvis_shift(positions: Array, ankle: Array, fps: float) -> Array:
    """Vertical shift (T,) of the body, metres: down where a leg would not reach, up where the body meets the floor."""
    hip = positions[:, HIPS]
    soft, _ = two_bone_ik.reach_limit(hip, positions[:, KNEES], positions[:, ANKLES])
    reach = ankle - hip
    drop = np.sqrt(np.maximum(soft**2 - reach[..., 0] ** 2 - reach[..., 2] ** 2, 0))
    need = np.clip(-reach[..., 1] - drop, 0, MAX_DROP).max(axis=1)
    # A leg that points up does not reach farther when the pelvis sinks.
    sink = smooth_envelope(need, DROP_SECONDS, fps)
    return lift_above(positions[:, BODY, 1] - sink[:, None], fps) - sink


def knee_forward(positions: Array, ankle: Array, toe: Array) -> Array:
    """Directions (T, 2, 3) in which the knees bend: the pelvis' forward axis turned with each leg, plus the foot's.

    Turning the pelvis from straight down to the leg's direction makes forward point up for a leg that kicks forward,
    and keeps it forward for one that is spread sideways; the foot's direction adds how far the leg is turned out.

    Args:
        positions: (T, 22, 3) metres.
        ankle: (T, 2, 3) left and right.
        toe: (T, 2, 3).
    """
    hips = positions[:, HIPS]
    up = positions[:, SPINE1] - hips.mean(axis=1)
    front = rot.normalize(rot.cross(hips[:, 0] - hips[:, 1], up))
    leg = rot.normalize(ankle - hips)
    swung = (rot.shortest_arc(-up[:, None], leg) @ front[:, None, :, None])[..., 0]
    foot = toe - ankle
    aside = foot - (foot * leg).sum(-1, keepdims=True) * leg
    return swung + aside / rot.length(foot)[..., None]
