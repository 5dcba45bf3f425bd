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

STEADY: Final = 0.05
"""Noise of a person's place, metres, at which differences of place along that axis count half. Pose estimation from one
camera errs most in depth, and there by whole bodies."""
SAME_PERSON: Final = 0.1
"""Detections of one frame whose joints are closer than this on average are one person found twice, metres."""
GATE: Final = 0.22
"""Largest mean distance of the joints to where they were expected, metres; half as much more for each further frame."""
DOUBT: Final = 0.6
"""A match counts only if its distance is below this share of the one to any other candidate."""
FAR: Final = 1.0
"""Distance of places from which on the poses do not matter, metres."""
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
            near = seen and distances(detections.joints[seen], detections.joints[[one]], np.ones(3)).min() < SAME_PERSON
            kept[one] = not near
            if not near:
                seen.append(int(one))
    return detections.of(kept), int((~kept).sum())


def frame_groups(frames: Indices) -> list[Indices]:
    """Indices of equal frame numbers, which are sorted."""
    return np.split(np.arange(len(frames)), np.flatnonzero(np.diff(frames)) + 1)


def place_weights(detections: Detections) -> Array:
    """How much differences of place count along each axis (3,), from 1 where places are exact to 0.

    The noise is estimated from the third differences of the mean place of all persons, which needs no tracks: those of
    white noise have 20 times its variance, and slow motion almost cancels.
    """
    groups = frame_groups(detections.frames)
    frames, counts = np.array([detections.frames[g[0]] for g in groups]), np.array([len(g) for g in groups])
    centres = np.stack([detections.joints[g].mean(axis=(0, 1)) for g in groups])
    if len(groups) < 4:
        return np.ones(3)
    alike = np.stack([counts[i : len(counts) - 3 + i] for i in range(4)])
    usable = (frames[3:] - frames[:-3] == 3) & (np.ptp(alike, axis=0) == 0)
    if usable.sum() < 8:
        return np.ones(3)
    jerk = np.abs(np.diff(centres, n=3, axis=0))[usable] * np.sqrt(counts[3:][usable] / 20)[:, None]
    noise = np.median(jerk, axis=0) / 0.6745  # of a normal distribution
    return np.asarray(STEADY / (STEADY + noise))


def tracklets(detections: Detections, weights: Array | None = None) -> list[Tracklet]:
    """Tracklets of detections in metres, in order of their first frames; every detection is in one.

    Args:
        detections: in metres.
        weights: of differences of place along each axis, see `place_weights`.
    """
    along = np.ones(3) if weights is None else weights
    done: list[Tracklet] = []
    active: list[Tracklet] = []
    for group in frame_groups(detections.frames):
        now = int(detections.frames[group[0]])
        done += [t for t in active if now - t.frames[-1] > MAX_SKIPPED + 1]
        active = [t for t in active if now - t.frames[-1] <= MAX_SKIPPED + 1]
        matched, doubtful = _matches(active, detections, group, now, along)
        for column, one in enumerate(group):
            if (row := matched.get(column)) is None:
                active.append(Tracklet([int(one)], [now]))
            else:
                _extend(active[row], detections.joints, int(one), now)
        done += [active[row] for row in doubtful]
        active = [t for row, t in enumerate(active) if row not in doubtful]
    return sorted(done + active, key=lambda t: (t.frames[0], t.members[0]))


def _matches(
    active: list[Tracklet], detections: Detections, group: Indices, now: int, weights: Array
) -> tuple[dict[int, int], set[int]]:
    """Position in the group to position in the active tracklets, and those that end here: a person who begins a
    tracklet may be theirs."""
    if not active:
        return {}, set()
    steps = np.array([now - t.frames[-1] for t in active])
    expected = np.stack([detections.joints[t.members[-1]] + t.velocity * s for t, s in zip(active, steps, strict=True)])
    cost = distances(expected, detections.joints[group], weights)
    gate = GATE * (1 + 0.5 * (steps - 1))
    out: dict[int, int] = {}
    for row, column in zip(*linear_sum_assignment(np.minimum(cost, 10.0)), strict=True):
        others = np.concatenate([np.delete(cost[row], column), np.delete(cost[:, column], row)])
        sure = not len(others) or cost[row, column] < DOUBT * others.min()
        if cost[row, column] <= gate[row] and sure:
            out[int(column)] = int(row)
    free = [column for column in range(len(group)) if column not in out]
    within = (cost[:, free] <= gate[:, None]).any(axis=1)
    return out, set(np.flatnonzero(within).tolist()) - set(out.values())


def _extend(tracklet: Tracklet, joints: Array, one: int, now: int) -> None:
    step = (joints[one] - joints[tracklet.members[-1]]).mean(axis=0) / (now - tracklet.frames[-1])
    weight = _CALM if len(tracklet.members) > 1 else 1.0
    tracklet.velocity = tracklet.velocity + weight * (step - tracklet.velocity)
    tracklet.members.append(one)
    tracklet.frames.append(now)


def distances(a: Array, b: Array, weights: Array) -> Array:
    """Mean distances (A, B) of the joints of poses (A, 22, 3) and (B, 22, 3), differences of place weighted (3,).

    Of poses further apart than `FAR` only the places are compared: that distance is never more than the mean one.
    """
    places = a.mean(axis=1), b.mean(axis=1)
    apart = (places[0][:, None] - places[1][None]) * weights
    out = np.linalg.norm(apart, axis=-1)
    near, other = np.nonzero(out < FAR)
    bodies = (a[near] - places[0][near, None]) - (b[other] - places[1][other, None])
    out[near, other] = np.linalg.norm(bodies + apart[near, other, None], axis=-1).mean(axis=-1)
    return np.asarray(out)


def weighted(apart: Array, weights: Array) -> Array:
    """Mean length (N,) of the differences (N, 22, 3) of poses, that of their places weighted (3,)."""
    place = apart.mean(axis=1, keepdims=True)
    return np.asarray(np.linalg.norm(apart - place * (1 - weights), axis=-1).mean(axis=-1))


def bone_lengths(joints: Array) -> Array:
    """Lengths (N, 21) of the bones of joints (N, 22, 3)."""
    ends = np.array(SIGNATURE)
    return np.asarray(np.linalg.norm(joints[:, ends] - joints[:, np.array(PARENTS)[ends]], axis=-1))
