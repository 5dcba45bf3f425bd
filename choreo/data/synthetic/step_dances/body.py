"""The body of a dancer over the feet: pelvis, spine, head, arms and legs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline, PchipInterpolator
from scipy.ndimage import convolve1d, minimum_filter1d

from choreo.data.synthetic.choreography import (
    LEFT,
    MAX_LEG,
    STANDING,
    Feet,
    Score,
    place_legs,
    upper_body,
)
from choreo.data.synthetic.step_dances.feet import FootTracks, bump, ease, smooth, track_feet
from choreo.data.synthetic.step_dances.figures import Character, Role
from choreo.data.synthetic.step_dances.floor_plan import HALF_WIDTH, Placed
from choreo.data.synthetic.step_dances.holds import Carriage, arms
from choreo.motion import rotations as rot
from choreo.motion.kinematics import RigidFit, fit, forward_kinematics
from choreo.motion.skeleton import FPS, L_HIP, NECK, R_HIP, REST_OFFSETS

Array = NDArray[np.float64]

_Y, _Z = np.eye(3)[1:]
RISE_PITCH: Final = 0.35
"""Pitch of the feet at rise 1, radians."""
RISE_HEIGHT: Final = 0.04
"""Height by which that raises the body, metres."""
_GIVE: Final = 1.0
"""How far a foot without weight may raise its heel so that the leg reaches it, radians."""
_HEEL_STEPS: Final = np.linspace(0.0, 1.2, 13)
"""Pitches that are tried, radians."""
_BALANCE: Final = 7.0
"""Rate at which the pelvis follows the support, 1/s: an inverted pendulum (Kajita et al. 2001) of .95 m has 3.2, more
where ankles and hips help to balance."""
_STEADY: Final = 4.0
"""Rate at which the head does; slower, so that it keeps a steadier path than the pelvis, 1/s."""
_TRUNK: Final = 0.55
"""From the pelvis to the head, metres."""
_HIP_EARLY: Final = 0.05
"""A hip begins to settle so long before its foot has arrived, seconds."""
_HIP_SHARE: Final = 0.55
"""And has settled after this part of the time to the next footfall."""


@dataclass(frozen=True)
class _Keys:
    """Times (n,) at which the weight has arrived on a foot, the seconds to the next of them (n,), and footfalls."""

    times: Array
    placed: Sequence[Placed]

    def of(self, name: str) -> Array:
        return np.array([float(getattr(each.of, name)) for each in self.placed])


def animate(
    placed: Sequence[Placed],
    times: Array,
    beat: float,
    character: Character,
    role: Role,
    carriage: Carriage,
    drift: Array,
) -> RigidFit:
    """Motion of the canonical skeleton at `times` (T,) seconds; the pelvis starts at x = z = 0.

    Args:
        placed: footfalls, before and beyond `times`, too.
        times: seconds.
        beat: length of a beat, seconds.
        character: of the dance, as this dancer dances it.
        role: whose hold.
        carriage: how this dancer carries the arms.
        drift: (T, 3) slow further twist, lean and tilt of the trunk, radians.
    """
    keys = _Keys(np.array([each.beat for each in placed]) * beat, placed)
    feet = track_feet(placed, times, beat, character)
    swayed, rise = character.sway * _curve(keys, "sway", times), smooth(_curve(keys, "rise", times), 3.0)
    feet.pitch += RISE_PITCH * rise[:, None] * (0.3 + 0.7 * feet.load)
    facing = np.array([[each.heading] for each in placed])
    heading = _travelled(keys, facing, facing, times, character)[:, 0]
    weight = _settled(keys, times)
    turn, roll = character.hips * weight, character.roll * weight
    pelvis = rot.yaw(heading + turn) @ rot.axis_angle(_Z, roll)
    ground = _ground(keys, times, character)
    root = _root(keys, feet, times, beat, character, pelvis, rise, ground)
    left, ahead = _counterbalance(ground, heading)
    opened, head = _curve(keys, "open", times), _heads(keys, times, character)
    still = np.zeros_like(times)
    score = Score(
        times / beat, [], arms(character.hold, role, carriage, opened, weight, character.arms), still,
        twist=drift[:, 0] - 0.85 * turn, lean=drift[:, 1] + character.lean + ahead,
        tilt=drift[:, 2] + 0.8 * roll + swayed + left,
    )  # fmt: skip
    local = upper_body(score, pelvis)
    local[:, NECK] = rot.yaw(head) @ local[:, NECK]
    positions = forward_kinematics(root, local)
    _stand(positions, feet, heading)
    positions[..., [0, 2]] -= root[0, [0, 2]]
    return fit(positions)


def _curve(keys: _Keys, name: str, times: Array) -> Array:
    """A property of the footfalls at `times`, smooth and without overshoot."""
    values = keys.of(name)
    return smooth(PchipInterpolator(keys.times, values, extrapolate=False)(_inside(keys, times)), 1.5)


def _inside(keys: _Keys, times: Array) -> Array:
    return np.clip(times, keys.times[0], keys.times[-1])


def _settled(keys: _Keys, times: Array) -> Array:
    """Which hip has settled (T,): -1 over the right foot to 1 over the left, less where the hip action is weaker.

    A hip settles after its foot has arrived, during most of the time until the next one does.
    """
    carrying = [(at, fall.of) for at, fall in zip(keys.times, keys.placed, strict=True) if fall.of.weight]
    gaps = np.diff([at for at, _ in carrying], append=keys.times[-1] + 0.5)
    out = np.zeros_like(times)
    for (at, footfall), gap in zip(carrying, gaps, strict=True):
        goal = footfall.hip * (1.0 if footfall.foot == LEFT else -1.0)
        out += ease(np.clip((times - at + _HIP_EARLY) / (_HIP_EARLY + _HIP_SHARE * gap), 0, 1)) * (goal - out)
    return smooth(out, 1.5)


def _heads(keys: _Keys, times: Array, character: Character) -> Array:
    """Yaw of the head (T,): it turns in a short time before each count on which it looks elsewhere."""
    values = np.radians(keys.of("head"))
    out = np.full(len(times), values[0])
    for at, (old, new) in zip(keys.times[1:], pairwise(values), strict=True):
        if new != old:
            out += ease(np.clip((times - at) / character.head + 1, 0, 1)) * (new - old)
    return smooth(out, 1.0)


def _travelled(keys: _Keys, arrived: Array, settled: Array, times: Array, character: Character) -> Array:
    """A path (T, K) through values (n, K) at the arrival of each foot, and settled ones (n, K) half a slow step later.

    Where the next foot swings late, it waits until then. Where it does not wait, its speed is `flow` of that of a
    smooth curve.
    """
    arrive = keys.times + character.settle
    gaps = np.diff(keys.times)
    slow = gaps / 2 >= character.swing
    leave = arrive.copy()
    leave[:-1] += np.where(slow, gaps / 2, np.maximum(gaps - 1.15 * character.swing, 0))
    slope = np.zeros_like(arrived)
    span = (keys.times[2:] - keys.times[:-2])[:, None]
    slope[1:-1] = character.flow * (arrived[2:] - arrived[:-2]) / span
    waits = leave - arrive > 0.04
    slope[waits] = 0.0
    after = np.where(np.append(slow, False)[:, None], settled, arrived)
    at = np.concatenate([arrive, leave[waits]])
    order = np.argsort(at, kind="stable")
    points, slopes = np.concatenate([arrived, after[waits]])[order], np.concatenate([slope, slope[waits]])[order]
    path = CubicHermiteSpline(at[order], points, slopes)
    return smooth(path(np.clip(times, at.min(), at.max())), 1.2)


def _ground(keys: _Keys, times: Array, character: Character) -> Array:
    """x and z of the pelvis (T, 2): over the standing feet, as far as it can follow them in time."""
    over = np.stack([_over(each, character) for each in keys.placed])
    behind = over - character.trail * np.diff(over, axis=0, prepend=over[:1])
    support = _travelled(keys, behind, 0.6 * over + 0.4 * behind, times, character)
    return _balanced(support, _BALANCE)


def _balanced(support: Array, rate: float) -> Array:
    """Path of a pendulum balanced over a moving support: the bounded solution of path'' = rate^2 (path - support)."""
    away = np.arange(-FPS, FPS + 1) / FPS
    kernel = np.exp(-rate * np.abs(away))
    return np.asarray(convolve1d(support, kernel / kernel.sum(), axis=0, mode="nearest"))


def _counterbalance(ground: Array, heading: Array) -> tuple[Array, Array]:
    """Tilt to the left and lean forwards (T,), radians, by which the trunk keeps the head on a steadier path."""
    away = (_balanced(ground, _STEADY) - ground) / _TRUNK
    sin, cos = np.sin(heading), np.cos(heading)
    return away[:, 0] * cos - away[:, 1] * sin, away[:, 0] * sin + away[:, 1] * cos


def _root(
    keys: _Keys, feet: FootTracks, times: Array, beat: float, character: Character, pelvis: Array, rise: Array,
    ground: Array,
) -> Array:  # fmt: skip
    """Pelvis (T, 3): above `ground`, at the height of the dance, and within reach of both feet."""
    hips = (pelvis[:, None] @ REST_OFFSETS[[L_HIP, R_HIP], :, None])[..., 0]
    root = np.stack([ground[:, 0], np.zeros_like(times), ground[:, 1]], axis=-1)
    give = np.where((feet.swinging > 0) | (feet.load > 0.5), 0.0, 1.0)
    give = np.maximum(give, np.clip(1 - 2 * feet.swinging, 0, 1) * (feet.swinging > 0))
    ankles = feet.ankles(np.maximum(feet.pitch, _GIVE * give * (1 - feet.load)))
    away = np.linalg.norm((root[:, None] + hips - ankles)[..., [0, 2]], axis=-1)
    reachable = ankles[..., 1] + np.sqrt(np.maximum(MAX_LEG**2 - away**2, 0.05)) - hips[..., 1]
    reachable = np.where((feet.swinging > 0.15) & (feet.swinging < 0.6), np.inf, reachable).min(1)
    bounce = character.bounce * np.cos(2 * np.pi * character.bounces * times / beat)
    knee = character.knee + _curve(keys, "knee", times) + bounce
    knee += character.landing * _landings(keys, times)
    wanted = np.minimum(STANDING - 0.012 - knee + RISE_HEIGHT * rise, reachable)
    # A smoothed running minimum stays below the values themselves.
    root[:, 1] = smooth(minimum_filter1d(wanted, 7, mode="nearest"), 2.0)
    return root


def _over(fall: Placed, character: Character) -> Array:
    """x and z of the pelvis over a foot."""
    side = (1.0 if fall.of.foot == LEFT else -1.0) * (1.0 if fall.of.weight else -1.0)
    aside = side * character.shift * HALF_WIDTH
    return fall.centre + aside * np.array([np.cos(fall.heading), -np.sin(fall.heading)])


def _landings(keys: _Keys, times: Array) -> Array:
    """1 at every arrival of weight (T,), when the knee gives way to it, 0 between."""
    out = np.zeros_like(times)
    for at, fall in zip(keys.times, keys.placed, strict=True):
        if fall.of.weight and fall.of.direction != "replace":
            out += bump(times, at - 0.12, at + 0.03, at + 0.2)
    return out


def _stand(positions: Array, feet: FootTracks, heading: Array) -> None:
    """Place the legs of positions (T, 22, 3), in place; a heel rises as far as the leg needs to reach the ball."""
    hips = positions[:, [L_HIP, R_HIP]]
    tries = np.stack([rot.length(hips - feet.ankles(feet.pitch + more)) for more in _HEEL_STEPS])
    near = tries <= MAX_LEG
    index = np.where(near.any(0), near.argmax(0), len(_HEEL_STEPS) - 1)
    above = np.maximum(index - 1, 0)
    far, close = (np.take_along_axis(tries, i[None], 0)[0] for i in (above, index))
    part = np.clip((far - MAX_LEG) / np.maximum(far - close, 1e-9), 0, 1)
    more = _HEEL_STEPS[above] + np.where(index > 0, part, 0.0) * (_HEEL_STEPS[index] - _HEEL_STEPS[above])
    pitch = feet.pitch + np.maximum(smooth(more, 1.0), more)
    ankles = feet.ankles(pitch)
    away = rot.length(hips - ankles)
    # A foot in the air that is out of reach even so comes nearer.
    ankles += (np.maximum(away - MAX_LEG, 0) / away)[..., None] * (hips - ankles)
    place_legs(positions, Feet(ankles, feet.yaw, pitch, feet.load), heading)
