"""Leak check: stretches of about a second that two parts of a split share almost exactly.

A stretch is described by poses relative to the root, turned so that the middle one faces +z; place and direction
therefore do not count. Two stretches are near-identical when the root mean square distance of their joints is below
`MAX_DISTANCE`, the held-out one played at its own speed or one of `SPEEDS`. The search is exhaustive and exact:
stretches are first compared along a few principal directions, which can only shorten a distance, and candidates are
then compared in full.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.data.clip import Clip
from choreo.motion.skeleton import FPS

Array = NDArray[np.float32]

STRETCH: Final = FPS
"""Frames of a stretch."""
SAMPLES: Final = 6
"""Evenly spaced poses that describe a stretch."""
HOP: Final = 6
"""Frames between the starts of held-out stretches; each is compared with every stretch of the training clips."""
MAX_DISTANCE: Final = 0.03
"""Metres. Takes of one dancer repeating a step are sometimes this close, spliced recordings always."""
SPEEDS: Final = (0.8, 1.0, 1.25)
"""Lengths of a held-out stretch in seconds: spliced recordings are sometimes played at another rate."""
DIRECTIONS: Final = 24
"""Principal directions of the first comparison."""
_BLOCK: Final = 64
"""Stretches compared at a time."""
_ROUNDING: Final = 1e-5
"""Rounding error of a squared distance in float32, square metres."""


@dataclass(frozen=True)
class Leak:
    """A stretch of one clip that is near-identical to a stretch of a clip in another part.

    Attributes:
        key, other: the clips.
        start, other_start: first frames.
        frames: length in the first clip.
        distance: root mean square over joints and poses where they agree best, metres.
    """

    key: str
    other: str
    start: int
    other_start: int
    frames: int
    distance: float


@dataclass(frozen=True)
class LeakReport:
    """Leaks of one part of a split.

    Attributes:
        leaks: near-identical stretches, longest first.
        share: fraction of the frames that lie in one, by clip.
        total: the same over the whole part.
    """

    leaks: tuple[Leak, ...]
    share: Mapping[str, float]
    total: float


def find_leaks(
    held_out: Sequence[Clip],
    training: Sequence[Clip],
    max_distance: float = MAX_DISTANCE,
    speeds: Sequence[float] = SPEEDS,
) -> LeakReport:
    """Stretches of held-out clips that training clips have as well.

    Clips shorter than a stretch are not compared.

    Args:
        held_out: clips that should be new.
        training: clips of the training part.
        max_distance: largest root mean square distance between joints, metres.
        speeds: lengths of the held-out stretches, in seconds, that are compared with a second of training motion.
    """
    there = _Stretches(training, hop=1)
    covered = {clip.key: np.zeros(clip.num_frames, bool) for clip in held_out}
    hits: list[Leak] = []
    if len(there.vectors):
        for speed in speeds:
            here = _Stretches(held_out, HOP, speed)
            for leak in _matches(here, there, max_distance):
                covered[leak.key][leak.start : leak.start + leak.frames] = True
                hits.append(leak)
    leaks = sorted(_joined(hits), key=lambda leak: (-leak.frames, leak.key, leak.start))
    frames = sum(len(mask) for mask in covered.values())
    return LeakReport(
        tuple(leaks),
        {key: float(mask.mean()) for key, mask in covered.items()},
        sum(int(mask.sum()) for mask in covered.values()) / max(frames, 1),
    )


class _Stretches:
    """Descriptions of stretches: `vectors` float32 (N, D), with the clip (`owners`) and first frame (`starts`) of each.

    They are scaled so that the distance of two is the root mean square distance of their joints in metres.
    """

    def __init__(self, clips: Sequence[Clip], hop: int, speed: float = 1.0) -> None:
        self.clips = clips
        self.frames = max(2, round(STRETCH * speed))
        offsets = np.round(np.linspace(0, self.frames - 1, SAMPLES)).astype(int)
        vectors, owners, starts = [], [], []
        for index, clip in enumerate(clips):
            first = np.arange(0, clip.num_frames - self.frames + 1, hop)
            if not len(first):
                continue
            vectors.append(_described(clip, first, offsets))
            owners.append(np.full(len(first), index))
            starts.append(first)
        self.vectors = np.concatenate(vectors) if vectors else np.zeros((0, 1), np.float32)
        self.owners = np.concatenate(owners) if owners else np.zeros(0, int)
        self.starts = np.concatenate(starts) if starts else np.zeros(0, int)


def _described(clip: Clip, first: NDArray[np.int_], offsets: NDArray[np.int_]) -> Array:
    """Vectors (N, D) of the stretches that begin at frames `first` (N,); `offsets` are those of their poses."""
    joints = clip.representation.joints_of(clip.features)
    poses = joints[first[:, None] + offsets]  # (N, S, joints, 3)
    middle = clip.heading[first + int(offsets[-1]) // 2].astype(np.float64)
    cos, sin = np.cos(-middle)[:, None, None], np.sin(-middle)[:, None, None]
    x, z = poses[..., 0] * cos + poses[..., 2] * sin, poses[..., 2] * cos - poses[..., 0] * sin
    turned = np.stack([x, poses[..., 1], z], axis=-1).reshape(len(first), -1)
    return (turned / np.sqrt(len(offsets) * joints.shape[1])).astype(np.float32)


def _matches(here: _Stretches, there: _Stretches, max_distance: float) -> Iterator[Leak]:
    """For every stretch here, the nearest one of each clip there that has one within `max_distance`."""
    if not len(here.vectors):
        return
    mean, axes = _principal(there.vectors)
    coarse_here, coarse_there = (here.vectors - mean) @ axes, (there.vectors - mean) @ axes
    # Sorted along the first direction, candidates lie in a narrow range.
    order_here, order_there = np.argsort(coarse_here[:, 0]), np.argsort(coarse_there[:, 0])
    along = coarse_there[order_there, 0]
    # One product per block gives |a|^2 - 2 a b + |b|^2.
    left = np.concatenate([-2 * coarse_here, (coarse_here**2).sum(1)[:, None], np.ones((len(coarse_here), 1))], axis=1)
    right = np.concatenate([coarse_there, np.ones((len(coarse_there), 1)), (coarse_there**2).sum(1)[:, None]], axis=1)
    left, right = left[order_here].astype(np.float32), right[order_there].astype(np.float32)
    for a in range(0, len(left), _BLOCK):
        block = coarse_here[order_here[a : a + _BLOCK], 0]
        first, last = np.searchsorted(along, [block[0] - max_distance, block[-1] + max_distance])
        squared = left[a : a + _BLOCK] @ right[first:last].T
        rows, columns = np.nonzero(squared < max_distance**2 + _ROUNDING)
        rows, columns = order_here[a + rows], order_there[first + columns]
        exact = np.linalg.norm(here.vectors[rows] - there.vectors[columns], axis=1)
        close = exact < max_distance
        yield from _nearest_per_clip(here, there, rows[close], columns[close], exact[close])


def _nearest_per_clip(
    here: _Stretches, there: _Stretches, rows: NDArray[np.int_], columns: NDArray[np.int_], distances: Array
) -> Iterator[Leak]:
    order = np.lexsort((distances, there.owners[columns], rows))
    rows, columns, distances = rows[order], columns[order], distances[order]
    owners = there.owners[columns]
    first = np.ones(len(rows), bool)
    first[1:] = (rows[1:] != rows[:-1]) | (owners[1:] != owners[:-1])
    for row, column, distance in zip(rows[first], columns[first], distances[first], strict=True):
        yield Leak(
            here.clips[here.owners[row]].key,
            there.clips[there.owners[column]].key,
            int(here.starts[row]),
            int(there.starts[column]),
            here.frames,
            float(distance),
        )


def _joined(hits: Sequence[Leak]) -> Iterator[Leak]:
    """Merge stretches of one pair of clips that overlap at nearly the same shift."""
    pairs: dict[tuple[str, str], list[Leak]] = {}
    for leak in hits:
        pairs.setdefault((leak.key, leak.other), []).append(leak)
    for found in pairs.values():
        found.sort(key=lambda leak: leak.start)
        run = found[0]
        for leak in found[1:]:
            shift = (leak.other_start - leak.start) - (run.other_start - run.start)
            if leak.start <= run.start + run.frames and abs(shift) <= HOP:
                frames = max(run.frames, leak.start + leak.frames - run.start)
                best = min(run, leak, key=lambda found: found.distance)
                there = max(0, run.start + best.other_start - best.start)
                run = Leak(run.key, run.other, run.start, there, frames, best.distance)
            else:
                yield run
                run = leak
        yield run


def _principal(vectors: Array) -> tuple[Array, Array]:
    """Mean (D,) and the `DIRECTIONS` orthonormal axes (D, P) along which vectors (N, D) vary most."""
    sample = vectors[:: max(1, len(vectors) // 20000)]
    mean = sample.mean(0)
    _, axes = np.linalg.eigh(np.cov(sample - mean, rowvar=False) if len(sample) > 1 else np.eye(vectors.shape[1]))
    return mean, axes[:, ::-1][:, :DIRECTIONS].astype(np.float32)
