"""Tracklets: detections of consecutive frames that are certainly one person.

Detections are matched with the persons of the frames before by the mean distance of their joints to where they were
going (assignment: Kuhn 1955, in SciPy). A tracklet ends wherever there is doubt, as two persons who pass through one
another; whose tracklets belong together is decided afterwards, with all of them in view (`identities`). The tracker's
own numbers are not used here: their mistakes are what is to be repaired.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from choreo.data.poses.results import Detections
from choreo.motion.skeleton import PARENTS

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

SAME_PERSON: Final = 0.1
"""Detections of one frame whose joints are closer than this on average are one person found twice, metres."""
GATE: Final = 0.22
"""Largest mean distance of the joints to where they were expected, metres; half as much more for each further frame."""
DOUBT: Final = 0.6
"""A match counts only if its distance is below this share of the one to any other candidate."""
MAX_SKIPPED: Final = 2
"""Frames that a tracklet may lack in a row."""
MAX_PER_FRAME: Final = 64
"""Persons of one frame that are looked at, the surest first."""
_CALM: Final = 0.5
"""Weight of the newest step in the velocity."""
SIGNATURE: Final = tuple(range(1, 22))
"""Ends of the bones whose lengths tell persons apart."""


@dataclass
class Tracklet:
    """Indices of its detections in order of their frames, and where the person is going."""

    members: list[int]
    frames: list[int]
    velocity: Array = field(default_factory=lambda: np.zeros(3))


def without_doubles(detections: Detections) -> tuple[Detections, int]:
    """Detections without persons found twice in a frame or beyond `MAX_PER_FRAME`, and how many were left out."""
    kept = np.ones(len(detections), bool)
    for group in frame_groups(detections.frames):
        if len(group) < 2:
            continue
        order = group[np.argsort(-detections.scores[group], kind="stable")]
        kept[order[MAX_PER_FRAME:]] = False
        seen: list[int] = []
        for one in order[:MAX_PER_FRAME]:
            near = seen and _distances(detections.joints[seen], detections.joints[[one]]).min() < SAME_PERSON
            kept[one] = not near
            if not near:
                seen.append(int(one))
    return detections.of(kept), int((~kept).sum())


def frame_groups(frames: Indices) -> list[Indices]:
    """Indices of equal frame numbers, which are sorted."""
    return np.split(np.arange(len(frames)), np.flatnonzero(np.diff(frames)) + 1)


def tracklets(detections: Detections) -> list[Tracklet]:
    """Tracklets of detections in metres, in order of their first frames; every detection is in one."""
    done: list[Tracklet] = []
    active: list[Tracklet] = []
    for group in frame_groups(detections.frames):
        now = int(detections.frames[group[0]])
        done += [t for t in active if now - t.frames[-1] > MAX_SKIPPED + 1]
        active = [t for t in active if now - t.frames[-1] <= MAX_SKIPPED + 1]
        matched = _matches(active, detections, group, now)
        for column, one in enumerate(group):
            if (row := matched.get(column)) is None:
                active.append(Tracklet([int(one)], [now]))
            else:
                _extend(active[row], detections.joints, int(one), now)
    return sorted(done + active, key=lambda t: (t.frames[0], t.members[0]))


def _matches(active: list[Tracklet], detections: Detections, group: Indices, now: int) -> dict[int, int]:
    """Position in the group to position in the active tracklets."""
    if not active:
        return {}
    steps = np.array([now - t.frames[-1] for t in active])
    expected = np.stack([detections.joints[t.members[-1]] + t.velocity * s for t, s in zip(active, steps, strict=True)])
    cost = _distances(expected, detections.joints[group])
    gate = GATE * (1 + 0.5 * (steps - 1))
    out = {}
    for row, column in zip(*linear_sum_assignment(np.minimum(cost, 10.0)), strict=True):
        others = np.concatenate([np.delete(cost[row], column), np.delete(cost[:, column], row)])
        sure = not len(others) or cost[row, column] < DOUBT * others.min()
        if cost[row, column] <= gate[row] and sure:
            out[int(column)] = int(row)
    return out


def _extend(tracklet: Tracklet, joints: Array, one: int, now: int) -> None:
    step = (joints[one] - joints[tracklet.members[-1]]).mean(axis=0) / (now - tracklet.frames[-1])
    weight = _CALM if len(tracklet.members) > 1 else 1.0
    tracklet.velocity = tracklet.velocity + weight * (step - tracklet.velocity)
    tracklet.members.append(one)
    tracklet.frames.append(now)


def _distances(a: Array, b: Array) -> Array:
    """Mean distances (A, B) of the joints of poses (A, 22, 3) and (B, 22, 3)."""
    return np.linalg.norm(a[:, None] - b[None], axis=-1).mean(axis=-1)


def bone_lengths(joints: Array) -> Array:
    """Lengths (N, 21) of the bones of joints (N, 22, 3)."""
    ends = np.array(SIGNATURE)
    return np.asarray(np.linalg.norm(joints[:, ends] - joints[:, np.array(PARENTS)[ends]], axis=-1))
