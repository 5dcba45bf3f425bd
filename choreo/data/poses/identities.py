"""Which tracklets are the same dancer: a beam search over all of them at once.

A tracklet belongs to the dancer whose bones have its lengths and who was going where it begins; a tracker's number is a
hint. Bone lengths come from a stretch in which all dancers are seen, and once more from the first answer. The search
keeps the cheapest ways to divide the tracklets among the dancers, so what comes later can correct what looked likely.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from choreo.data.poses.results import Detections
from choreo.data.poses.tracklets import Tracklet, bone_lengths, weighted
from choreo.errors import InvalidInput

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

BEAM: Final = 48
"""Ways to divide the tracklets that are kept."""
MAX_TRACKLETS: Final = 3000
"""The longest are divided; with more, the video is no dance of a few persons."""
FASTEST: Final = 3.0
"""Speed at which a person may have gone while unseen, m/s, in addition to half a metre."""
GLIDE_SECONDS: Final = 0.25
"""How long a person who is not seen keeps the velocity."""
BONE_NOISE: Final = 0.035
"""Standard deviation of a bone's length in one frame, metres."""
BONE_BIAS: Final = 0.012
"""And of its mean over many frames, which changes with the pose."""
MAX_BONES_COST: Final = 30.0
OTHER_NUMBER: Final = 1.0
"""What it costs to join tracklets to which the tracker gave different numbers."""
LEFT_OUT: Final = (6.0, 1.0)
"""What it costs to leave out a tracklet, and each of its frames."""


class _Way(NamedTuple):
    """A division of the tracklets so far: cost, last tracklet of each dancer (-1: none), and the way before."""

    cost: float
    last: tuple[int, ...]
    owner: int
    before: "_Way | None"


@dataclass(frozen=True)
class _Ends:
    """What joining needs of every tracklet: first and last frames, poses and velocities (metres a frame)."""

    first: Indices
    last: Indices
    first_pose: Array
    last_pose: Array
    first_velocity: Array
    last_velocity: Array
    number: Indices
    bones: Array
    size: Indices


def identify(detections: Detections, found: list[Tracklet], people: int, fps: float, weights: Array) -> Indices:
    """The detection of each dancer in each frame (people, T), -1 where there is none; frame 0 is the first image.

    Args:
        detections: in metres, y up.
        found: their tracklets.
        people: how many dancers there are.
        fps: images per second.
        weights: of differences of place along each axis (3,), see `tracklets.place_weights`.

    Raises:
        InvalidInput: fewer persons than that are ever seen at the same time.
    """
    if len(found) > MAX_TRACKLETS:
        longest = sorted(found, key=lambda t: -len(t.members))[:MAX_TRACKLETS]
        found = sorted(longest, key=lambda t: t.frames[0])
    ends = _ends(detections, found)
    reference = ends.bones[_reference(found, people)]
    owners: list[int] = []
    for _ in range(3):
        owners = _divided(ends, reference, people, fps, weights)
        members = [[i for i, owner in enumerate(owners) if owner == k] for k in range(people)]
        if not all(members):
            break
        reference = np.stack([np.average(ends.bones[m], axis=0, weights=ends.size[m]) for m in members])
    start = int(detections.frames[0])
    out = np.full((people, int(detections.frames[-1]) - start + 1), -1, np.int64)
    for tracklet, owner in zip(found, owners, strict=True):
        if owner >= 0:
            out[owner, np.array(tracklet.frames) - start] = tracklet.members
    return out


def _reference(found: list[Tracklet], people: int) -> list[int]:
    """The tracklets of `people` persons who are seen together for longest."""
    if people == 1:
        return [max(range(len(found)), key=lambda i: len(found[i].members))]
    best, pair = 0, None
    for i, one in enumerate(found):
        for j in range(i + 1, len(found)):
            if found[j].frames[0] > one.frames[-1]:
                break
            together = min(one.frames[-1], found[j].frames[-1]) - found[j].frames[0] + 1
            if together > best:
                best, pair = together, [i, j]
    if pair is None:
        raise InvalidInput("results", "never shows two persons at the same time; for one dancer give --people 1")
    return pair


def _ends(detections: Detections, found: list[Tracklet]) -> _Ends:
    joints, bones = detections.joints, bone_lengths(detections.joints)
    sizes = np.array([len(t.members) for t in found], np.int64)
    numbers = [np.unique(detections.ids[t.members], return_counts=True) for t in found]
    return _Ends(
        np.array([t.frames[0] for t in found], np.int64),
        np.array([t.frames[-1] for t in found], np.int64),
        np.stack([joints[t.members[:3]].mean(axis=0) for t in found]),
        np.stack([joints[t.members[-3:]].mean(axis=0) for t in found]),
        np.stack([_velocity(joints, t, slice(None, 6)) for t in found]),
        np.stack([_velocity(joints, t, slice(-6, None)) for t in found]),
        np.array([values[counts.argmax()] for values, counts in numbers], np.int64),
        np.stack([np.median(bones[t.members], axis=0) for t in found]),
        sizes,
    )


def _velocity(joints: Array, tracklet: Tracklet, part: slice) -> Array:
    """Mean velocity (3,) of the body over a few frames, metres a frame."""
    members, frames = tracklet.members[part], tracklet.frames[part]
    if len(members) < 3:
        return np.zeros(3)
    place, time = joints[members].mean(axis=1), np.array(frames, np.float64) - np.mean(frames)
    return np.asarray((time[:, None] * place).sum(axis=0) / (time**2).sum())


def _divided(ends: _Ends, reference: Array, people: int, fps: float, weights: Array) -> list[int]:
    """The dancer of each tracklet, -1 where it is left out, with the lowest cost that the beam finds."""
    bones = _bones_cost(ends, reference)
    ways = [_Way(0.0, (-1,) * people, -1, None)]
    for i in range(len(ends.first)):
        new = [_Way(way.cost + LEFT_OUT[0] + LEFT_OUT[1] * int(ends.size[i]), way.last, -1, way) for way in ways]
        joins = _join_costs(ends, sorted({j for way in ways for j in way.last if j >= 0}), i, fps, weights)
        for way in ways:
            for k in range(people):
                cost = joins.get(way.last[k], 0.0)
                if np.isfinite(cost):
                    last = (*way.last[:k], i, *way.last[k + 1 :])
                    new.append(_Way(way.cost + cost + float(bones[i, k]), last, k, way))
        ways = _cheapest(new)
    owners, at = [], ways[0]
    while at.before is not None:
        owners.append(at.owner)
        at = at.before
    return owners[::-1]


def _cheapest(ways: list[_Way]) -> list[_Way]:
    """At most `BEAM`, and of those with the same last tracklets only the best: what follows costs them the same."""
    out: dict[tuple[int, ...], _Way] = {}
    for way in sorted(ways, key=lambda w: w.cost):
        out.setdefault(way.last, way)
        if len(out) == BEAM:
            break
    return list(out.values())


def _bones_cost(ends: _Ends, reference: Array) -> Array:
    """(tracklets, dancers): half the squared differences of the bones' lengths, in their own spread."""
    spread = BONE_BIAS**2 + BONE_NOISE**2 / ends.size[:, None, None]
    cost = 0.25 * ((ends.bones[:, None] - reference[None]) ** 2 / spread).sum(axis=-1)
    return np.minimum(cost, MAX_BONES_COST)


def _join_costs(ends: _Ends, before: list[int], i: int, fps: float, weights: Array) -> dict[int, float]:
    """What it costs that tracklet i follows each of `before`; infinite if they overlap or no dancer is as fast."""
    if not before:
        return {}
    gap = ends.first[i] - ends.last[before]
    glide = np.minimum(GLIDE_SECONDS * fps * (1 - np.exp(-gap / (GLIDE_SECONDS * fps))), gap)[:, None, None] / 2
    ahead = ends.last_pose[before] + ends.last_velocity[before][:, None] * glide
    back = ends.first_pose[i] - ends.first_velocity[i] * glide
    apart = weighted(ahead - back, weights)
    spread = 0.08 + 0.6 * np.clip(gap / fps, 0.0, 3.0)
    numbers = OTHER_NUMBER * (ends.number[before] != ends.number[i])
    cost = 0.5 * (apart / spread) ** 2 + np.log(spread / 0.08) + numbers
    possible = (gap > 0) & (apart <= 0.5 + FASTEST * gap / fps)
    return dict(zip(before, np.where(possible, cost, np.inf).tolist(), strict=True))
