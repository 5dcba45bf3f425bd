"""The foot that carries the body, in every frame: left, right, both or, in a jump, none.

A network's feet slide, so no threshold on the speed of a foot says whether it stands. But outside of a jump some foot
carries the body, and it is the lower and stiller one. The cheapest sequence of the four states is found by dynamic
programming (Viterbi), in which every state lasts for a shortest time and every change costs.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from choreo.errors import InvalidInput
from choreo.motion.skeleton import CONTACT_JOINTS, FPS, PELVIS
from choreo.postprocess.contacts import FLAT_HEIGHTS, horizontal_speed
from choreo.postprocess.floor import BODY, RESTING_HEIGHTS

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

STATES: Final = np.array([[False, False], [True, False], [False, True], [True, True]])
"""Which feet, left and right, carry the body in each state."""
NEAR: Final = 0.04
"""A foot at this height over its flat height is as likely to carry as not, metres."""
HEIGHT_RANGE: Final = (-1.0, 2.0)
"""Least and largest cost of a foot's height, in multiples of NEAR."""
SLOW: Final = 0.5
"""A foot that moves this much faster than the stiller one is less likely to carry, m/s."""
RELATIVE_WEIGHT: Final = 0.7
WORLD_WEIGHT: Final = 0.3
"""What speed relative to the stiller foot, and speed over the floor, count against height."""
EVIDENCE_WEIGHT: Final = 3.0
"""What a network's contact channels count against height and speed."""
UNSUPPORTED: Final = 3.0
"""Cost of a frame in which no foot carries the body although one is low."""
JUMP_HEIGHT: Final = (0.04, 0.09)
"""Heights of the lower foot between which that cost falls to 0, metres over its flat height."""
FREE_FALL: Final = 9.81
"""Downward acceleration of the pelvis, m/s^2, at which nothing carries it."""
BALLISTIC: Final = 0.02
"""Height by which a fall lowers JUMP_HEIGHT, metres."""
CHANGE: Final = 1.0
"""Cost of every change of state."""
SHORTEST_SECONDS: Final = 0.13
"""Shortest time that a state lasts."""
ON_BODY: Final = 0.03
"""A body part this close to the floor carries the body, so that no foot has to, metres."""


def support(positions: NDArray[np.floating], fps: float = FPS, contacts: NDArray[np.floating] | None = None) -> Bools:
    """Which feet carry the body: (T, 2), left and right.

    Args:
        positions: (T, 22, 3) metres, floor at y = 0.
        fps: frames per second.
        contacts: (T, 4) probabilities of contact of CONTACT_JOINTS, if a network gives them.
    Raises:
        InvalidInput: contacts of another shape, not finite, or outside of [0, 1].
    """
    if contacts is not None:
        _check(contacts, len(positions))
    p = np.asarray(positions, np.float64)
    joints = p[:, CONTACT_JOINTS]
    height = _of_feet(joints[..., 1] - FLAT_HEIGHTS)
    speed = _of_feet(horizontal_speed(joints, fps))
    foot = np.clip(height / NEAR - 1, *HEIGHT_RANGE)
    foot += RELATIVE_WEIGHT * np.clip((speed - speed.min(axis=1, keepdims=True)) / SLOW, 0, 2)
    foot += WORLD_WEIGHT * np.clip(speed / SLOW - 1, -1, 1)
    if contacts is not None:
        foot += EVIDENCE_WEIGHT * (1 - 2 * np.asarray(contacts, np.float64).reshape(-1, 2, 2).max(axis=1))
    cost: Array = foot @ np.where(STATES.T, 1.0, 0.0)
    cost[:, 0] += UNSUPPORTED * (1 - _airborne(p, height.min(axis=1), fps))
    return STATES[_cheapest(cost, max(1, round(SHORTEST_SECONDS * fps)))]


def _check(contacts: NDArray[np.floating], frames: int) -> None:
    if contacts.shape != (frames, 4):
        raise InvalidInput("contacts", f"must have shape ({frames}, 4), one row per frame, got {contacts.shape}")
    bad = np.flatnonzero(~((contacts >= 0) & (contacts <= 1)).all(axis=1))
    if len(bad):
        raise InvalidInput("contacts", f"must be probabilities from 0 to 1, but those of frame {bad[0]} are not")


def _of_feet(values: Array) -> Array:
    """The lesser value (T, 2) of ankle and toe of each foot, from (T, 4)."""
    return np.minimum(values[:, :2], values[:, 2:])


def _airborne(p: Array, lower: Array, fps: float) -> Array:
    """How far (T,), from 0 to 1, a frame may do without a foot: in a jump, or on other parts of the body."""
    if len(p) < 3:
        return np.zeros(len(p))
    pelvis = gaussian_filter1d(p[:, PELVIS, 1], 0.05 * fps, mode="nearest")
    fall = np.clip(-np.gradient(np.gradient(pelvis)) * fps**2 / FREE_FALL, 0, 1)
    low, high = JUMP_HEIGHT
    jump = np.clip((lower + BALLISTIC * fall - low) / (high - low), 0, 1)
    body = (p[:, BODY, 1] - RESTING_HEIGHTS[list(BODY)]).min(axis=1)
    return np.maximum(jump, body < ON_BODY)


def _cheapest(cost: Array, shortest: int) -> NDArray[np.int64]:
    """The sequence (T,) of states of least total cost (T, S), each of which lasts at least `shortest` frames.

    A state that has begun is charged for its first `shortest` frames at once; the first and the last may be cut off by
    the clip. Plain Python: arrays of four numbers are slower.
    """
    frames, count = cost.shape
    total = np.concatenate([np.zeros((1, count)), np.cumsum(cost, axis=0)]).tolist()
    best, came = [total[1]], [[0] * count]
    for t in range(1, frames):
        start = max(0, t - shortest + 1)
        now, earlier, before = total[t + 1], total[start], best[start - 1] if start else None
        row, stay, rank = [], best[-1], [0, 0] if before is None else sorted(range(count), key=before.__getitem__)[:2]
        froms = [0] * count
        for s in range(count):
            value = stay[s] + now[s] - total[t][s]
            if before is not None:
                other = rank[0] if rank[0] != s else rank[1]
                changed = before[other] + CHANGE + now[s] - earlier[s]
                if changed < value:
                    value, froms[s] = changed, (other + 1)
            row.append(value)
        best.append(row)
        came.append(froms)
    path, t = np.empty(frames, np.int64), frames - 1
    s = int(np.argmin(best[-1]))
    while t >= 0:
        if came[t][s]:
            start = t - shortest + 1
            path[start : t + 1] = s
            s, t = came[t][s] - 1, start - 1
        else:
            path[t] = s
            t -= 1
    return path
