"""The feet of a dancer frame by frame: still while they stand, in an arc between two places.

A foot is described by its ball, about which it pivots and raises its heel, so that a foot on the floor never slides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from choreo.data.synthetic.choreography import LEFT, RIGHT
from choreo.data.synthetic.step_dances.figures import Character
from choreo.data.synthetic.step_dances.floor_plan import PIVOT, Placed, start
from choreo.motion import rotations as rot
from choreo.motion.kinematics import turned
from choreo.motion.skeleton import L_FOOT, R_FOOT, REST_OFFSETS, TOE_HEIGHT

Array = NDArray[np.float64]

FULL_LIFT: Final = 0.15
"""Steps of at least this length are lifted fully, metres."""
_X: Final = np.array([1.0, 0.0, 0.0])
_SWING_SHARE: Final = 0.85
"""Largest part of the time between two footfalls that the foot is in the air."""
_LEAD_SECONDS: Final = 0.12
"""Time in which the ball comes down after a heel."""
_HEEL_FRAMES: Final = 2.0
"""Standard deviation over which a heel is raised and lowered, frames."""
_PUSH: Final = 0.35
"""Pitch at which a foot leaves the floor, radians."""


@dataclass
class FootTracks:
    """Both feet over T frames.

    Attributes:
        balls: (T, 2, 3) metres.
        yaw: (T, 2) radians.
        pitch: (T, 2) heels up, radians.
        load: (T, 2) share of the weight.
        swinging: (T, 2) how far a foot is through its swing, 0..1; 0 while it stands.
    """

    balls: Array
    yaw: Array
    pitch: Array
    load: Array
    swinging: Array

    def ankles(self, pitch: Array) -> Array:
        """(T, 2, 3) of the ankles with pitch (T, 2)."""
        foot = rot.yaw(self.yaw) @ rot.axis_angle(_X, pitch)
        return self.balls - turned(foot, REST_OFFSETS[[L_FOOT, R_FOOT]])


def track_feet(placed: Sequence[Placed], times: Array, beat: float, character: Character) -> FootTracks:
    """Feet at `times` (T,) seconds; `beat` is the length of a beat in seconds."""
    count = len(times)
    tracks = FootTracks(np.zeros((count, 2, 3)), *(np.zeros((count, 2)) for _ in range(4)))
    tracks.load[:] = _loads(placed, times, beat, character)
    for foot in (LEFT, RIGHT):
        _track(tracks, foot, placed, times, beat, character)
    return tracks


def _track(
    tracks: FootTracks, foot: int, placed: Sequence[Placed], times: Array, beat: float, character: Character
) -> None:
    out = character.turn_out if foot == LEFT else -character.turn_out
    at, yaw = start(foot).balls[foot], out
    ground, turn = np.broadcast_to(at, (len(times), 2)).copy(), np.full(len(times), yaw)
    lift, push, lead, swinging = np.zeros((4, len(times)))
    before = -2.0
    for fall in placed:
        arrival, gap = fall.beat * beat, (fall.beat - before) * beat
        before = fall.beat
        swing = min(_SWING_SHARE * gap, character.swing)
        u = np.clip((times - arrival + swing) / swing, 0, 1)
        stays = fall.of.foot != foot or fall.of.direction == "replace"
        goal = at if stays else fall.ball
        facing = _pivoted(yaw, fall.heading + out, stays)
        distance = float(np.linalg.norm(goal - at))
        # Up before across: a foot that skims the floor looks as if it slid.
        across = ease(np.clip((u - 0.06) / 0.88, 0, 1))
        ground += across[:, None] * (goal - at)
        turn += across * (facing - yaw)
        if not stays:
            height = min(1.0, 0.25 + distance / FULL_LIFT)
            lift += character.lift * height * np.sin(np.pi * u) ** 2
            push += _PUSH * height * np.sin(np.pi * np.clip(u / 0.75, 0, 1)) ** 2
            swinging += np.where(u < 1, u, 0)
            if fall.of.direction == "forward" and character.heel_lead and fall.of.weight:
                lead += bump(times, arrival - 0.3 * swing, arrival, arrival + _LEAD_SECONDS) * character.heel_lead
        at, yaw = goal, facing
    # A heel that is raised in one or two frames would shake the knee; a lead stays with the height at which it lands.
    pitch = smooth(push + character.free_heel * (1 - tracks.load[:, foot]), _HEEL_FRAMES) - lead
    lift += REST_OFFSETS[L_FOOT, 2] * np.sin(lead)
    tracks.balls[:, foot] = np.stack([ground[:, 0], TOE_HEIGHT + lift, ground[:, 1]], axis=-1)
    tracks.yaw[:, foot], tracks.pitch[:, foot], tracks.swinging[:, foot] = turn, pitch, swinging


def _pivoted(yaw: float, wanted: float, stays: bool) -> float:
    """Yaw of a foot after the body has turned; a foot that stays pivots only as far as it must."""
    return wanted - float(np.clip(wanted - yaw, -PIVOT, PIVOT)) if stays else wanted


def _loads(placed: Sequence[Placed], times: Array, beat: float, character: Character) -> Array:
    """Share of the weight (T, 2): it passes to a foot from shortly before its arrival until the weight has settled."""
    first = placed[0].of.foot
    left = np.full(len(times), 1.0 if first == RIGHT else 0.0)
    for fall in placed:
        if not fall.of.weight:
            continue
        u = np.clip((times - fall.beat * beat + 0.08) / (0.08 + max(character.settle, 0.03)), 0, 1)
        left += ease(u) * ((1.0 if fall.of.foot == LEFT else 0.0) - left)
    return np.stack([left, 1 - left], axis=1)


def ease(u: Array) -> Array:
    """0 to 1 with zero velocity and acceleration at both ends."""
    return u**3 * (u * (6 * u - 15) + 10)


def smooth(x: Array, frames: float) -> Array:
    """x (T, ...) through a Gaussian of this standard deviation over time."""
    return gaussian_filter1d(x, frames, axis=0, mode="nearest")


def bump(times: Array, begin: float, top: float, end: float) -> Array:
    """Rises from 0 at `begin` to 1 at `top` and falls to 0 at `end`."""
    return ease(np.clip(np.minimum((times - begin) / (top - begin), (end - times) / (end - top)), 0, 1))
