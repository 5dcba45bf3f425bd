"""Directions and rotations that stay steady over time where what they were measured from says nothing.

A direction taken from two joints is as good as the joints are far apart: a bone that has shrunk to a few millimetres
points anywhere. Every frame therefore has a confidence, and a fastest turn holds for all. Frames that are trusted, and
that can be reached from their neighbours at that speed, keep their values exactly; the others are interpolated between
them on the sphere, so that a turn is spread over all the frames in which it may have happened.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion import rotations as rot

Array = NDArray[np.float64]
Frames = NDArray[np.int64]

TRUSTED: Final = 0.35
"""Confidence from which on a frame is believed."""
NEARLY_OPPOSITE: Final = 1e-4
"""Sine below which two directions more than 90 degrees apart do not say which way to turn."""


def steady_directions(directions: Array, confidence: Array, fastest: float) -> Array:
    """Unit vectors (T, N, D) over time, interpolated where they are not trusted or turn too fast.

    Args:
        directions: (T, N, D) unit vectors; those with confidence 0 may be anything, zero included.
        confidence: (T, N) from 0 to 1.
        fastest: turn between consecutive frames where they are trusted entirely, radians.
    """
    out = directions
    if len(directions) < 2:
        return out
    turn = _angle(directions[:-1], directions[1:])
    sure = np.minimum(np.minimum(confidence[:-1], confidence[1:]), 1)
    for number in np.flatnonzero((confidence < TRUSTED).any(axis=0) | (turn > fastest * sure).any(axis=0)):
        if out is directions:
            out = directions.copy()
        out[:, number] = _steady_direction(directions[:, number], confidence[:, number], fastest)
    return out


def _steady_direction(directions: Array, confidence: Array, fastest: float) -> Array:
    """`steady_directions` of one (T, D)."""

    def between(first: Frames, second: Frames) -> Array:
        return _angle(directions[first], directions[second])

    gap, before, after, share = _gaps(_kept_frames(confidence, between, fastest), len(directions))
    out = directions.copy()
    out[gap] = slerp(directions[before], directions[after], share)
    return out


def _angle(first: Array, second: Array) -> Array:
    return np.asarray(np.arccos(np.clip(np.einsum("...d,...d->...", first, second), -1, 1)))


def steady_rotations(rotations: Array, confidence: Array, fastest: float) -> Array:
    """Rotations (T, 3, 3) over time, as `steady_directions` does it."""
    if len(rotations) < 2:
        return rotations

    def between(first: Frames, second: Frames) -> Array:
        cosine = (np.einsum("tij,tij->t", rotations[first], rotations[second]) - 1) / 2
        return np.asarray(np.arccos(np.clip(cosine, -1, 1)))

    kept = _kept_frames(confidence, between, fastest)
    gap, before, after, share = _gaps(kept, len(rotations))
    if not len(gap):
        return rotations
    out = rotations.copy()
    turn = rot.rotation_vector(np.swapaxes(rotations[before], -1, -2) @ rotations[after])
    angle = rot.length(turn)
    out[gap] = rotations[before] @ rot.axis_angle(rot.normalize(turn), share * angle)
    return out


def slerp(start: Array, end: Array, share: Array) -> Array:
    """Unit vectors (N, D) at `share` (N,) of the way from `start` to `end`, along great circles (Shoemake 1985).

    Between opposite vectors any great circle will do.
    """
    cosine = np.clip(np.einsum("nd,nd->n", start, end), -1, 1)
    across = end - cosine[:, None] * start
    sine = rot.length(across)
    opposite = (sine < NEARLY_OPPOSITE) & (cosine < 0)
    if opposite.any():
        across[opposite] = _perpendicular(start[opposite])
    angle = np.arctan2(sine, cosine) * share
    return np.cos(angle)[:, None] * start + np.sin(angle)[:, None] * rot.normalize(across)


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First frame and the frame after the last of every run of True."""
    edges = np.flatnonzero(np.diff(np.r_[False, flags, False]))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _perpendicular(vectors: Array) -> Array:
    """Some vector (N, D) perpendicular to each unit vector (N, D)."""
    least = np.zeros_like(vectors)
    least[np.arange(len(vectors)), np.abs(vectors).argmin(axis=1)] = 1
    return least - np.einsum("nd,nd->n", least, vectors)[:, None] * vectors


def _kept_frames(confidence: Array, between: Callable[[Frames, Frames], Array], fastest: float) -> Frames:
    """Frames that keep their values: trusted ones that the frames kept beside them reach in time; at least one.

    Of two that are too far apart the less trusted one goes, until the turn fits into the time that is left for it.
    """
    kept = np.flatnonzero(confidence >= TRUSTED)
    if not len(kept):
        return np.array([confidence.argmax()])
    while len(kept) > 1:
        first, second = kept[:-1], kept[1:]
        sure = np.minimum(np.minimum(confidence[first], confidence[second]), 1)
        late = np.flatnonzero(between(first, second) > fastest * sure * (second - first))
        if not len(late):
            break
        stays = np.ones(len(kept), bool)
        stays[late + (confidence[kept[late]] > confidence[kept[late + 1]])] = False
        kept = kept[stays]
    return kept


def _gaps(kept: Frames, count: int) -> tuple[Frames, Frames, Frames, Array]:
    """Frames that are not kept, the kept frames before and after each, and how far between the two it is, from 0 to 1.

    Before the first and after the last kept frame both are that frame.
    """
    given = np.zeros(count, bool)
    given[kept] = True
    gap = np.flatnonzero(~given)
    place = np.searchsorted(kept, gap)
    before, after = kept[np.maximum(place - 1, 0)], kept[np.minimum(place, len(kept) - 1)]
    return gap, before, after, np.clip((gap - before) / np.maximum(after - before, 1), 0, 1)
