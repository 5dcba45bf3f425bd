"""Cutting recordings into phrases: at counts of eight beats, at novelty peaks, or where the body pauses."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import argrelmax, argrelmin

from choreo.errors import InvalidInput
from choreo.motion.skeleton import FPS, PELVIS
from retrieval.building.novelty import music_novelty, pose_novelty

Array = NDArray[np.float64]
Frames = NDArray[np.int64]
Boundaries = Literal["auto", "counts", "novelty", "pauses"]

PHRASE_FRAMES: Final = (64, 240)
"""Minimum and maximum length of a phrase of up to eight counts."""
COUNTS: Final = (8, 4, 16, 32)
"""Beats per phrase, in order of preference."""
MAX_PHRASE_FRAMES: Final = 960
"""Maximum length of a phrase of any number of counts: 32 beats at 60 BPM."""
STRETCH_SECONDS: Final = (2.0, 4.0, 6.0)
"""Minimum, preferred and maximum distance of boundaries by novelty or pauses, for phrases of up to eight counts."""
BOUNDARIES: Final[tuple[Boundaries, ...]] = ("auto", "counts", "novelty", "pauses")
_UNEVEN: Final = 1.6
"""A gap between beats of more median periods than this is a missed beat."""
_SMOOTH_SECONDS: Final = 0.15


@dataclass(frozen=True)
class Cutting:
    """How recordings are cut.

    Attributes:
        beats: of a phrase: 8, 16 or 32; None takes 8, or the nearest number that fits a very fast or slow song.
        boundaries: `counts` of beats; `novelty` of the music, or of the motion without music; `pauses` of the body;
            `auto` is counts if there are beats, else pauses. Counts without beats fall back to pauses.
        phrase_frames: minimum and maximum length; None: derived from `beats`.
    Raises:
        InvalidInput: an option has another value.
    """

    beats: int | None = None
    boundaries: Boundaries = "auto"
    phrase_frames: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.beats not in (None, 8, 16, 32):
            raise InvalidInput("beats", f"must be 8, 16, 32 or auto, got {self.beats}")
        if self.boundaries not in BOUNDARIES:
            raise InvalidInput("boundaries", f"must be one of {', '.join(BOUNDARIES)}, got {self.boundaries!r}")
        low, high = self.limits
        if not 2 <= low <= high <= MAX_PHRASE_FRAMES:
            raise InvalidInput(
                "phrase_frames", f"must be two rising numbers between 2 and {MAX_PHRASE_FRAMES}, got {(low, high)}"
            )

    @property
    def limits(self) -> tuple[int, int]:
        """Minimum and maximum length of a phrase, frames."""
        if self.phrase_frames is not None:
            return self.phrase_frames
        return PHRASE_FRAMES[0], min(self.eights * PHRASE_FRAMES[1], MAX_PHRASE_FRAMES)

    @property
    def eights(self) -> int:
        """Number of eight-counts per phrase."""
        return (self.beats or 8) // 8

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of beats per phrase, in order of preference."""
        return COUNTS if self.beats is None else (self.beats, *(c for c in COUNTS if c != self.beats))


@dataclass(frozen=True)
class Cut:
    """Frames first to last - 1 of a recording."""

    first: int
    last: int


def cut(
    positions: NDArray[np.floating],
    beats: ArrayLike,
    cutting: Cutting = Cutting(),
    meter: int = 4,
    music: NDArray[np.floating] | None = None,
) -> list[Cut]:
    """Phrases of a recording, all within the limits of `cutting`, in order and without overlap.

    Args:
        positions: (T, 22, 3) at 30 fps.
        beats: seconds from the first frame; may be empty.
        cutting: where to cut.
        meter: beats per bar; with 3, dancers count sixes instead of eights.
        music: features (T, 35) of the recording, for boundaries by novelty.
    """
    if len(positions) < cutting.limits[0]:
        return []
    frames = np.rint(np.asarray(beats, np.float64).reshape(-1) * FPS)
    # Beats that fall on one frame are one beat.
    frames = np.unique(frames[np.isfinite(frames) & (frames >= 0) & (frames <= len(positions))].astype(np.int64))
    counted = len(frames) > min(COUNTS)
    if cutting.boundaries == "novelty":
        return _at_novelty(positions, frames if counted else frames[:0], cutting, music)
    if cutting.boundaries != "pauses" and counted and (cuts := _at_counts(frames, cutting, meter)):
        return cuts
    return _at_pauses(positions, cutting)


def _at_counts(frames: Frames, cutting: Cutting, meter: int) -> list[Cut]:
    """Phrases of the first count whose length fits, and of half, a quarter or an eighth of it at the end."""
    low, high = cutting.limits
    period = float(np.median(np.diff(frames)))
    counts = [count * meter // 4 for count in cutting.counts]
    fitting = [c for c in counts if low <= c * period <= high]
    if not fitting:
        return []
    minimum = min(COUNTS) * meter // 4
    halves = [fitting[0] // part for part in (1, 2, 4, 8) if fitting[0] // part >= minimum]
    cuts, at = [], 0
    while at < len(frames) - 1:
        count = next((c for c in halves if at + c < len(frames)), None)
        if count is None:
            break
        gaps = np.diff(frames[at : at + count + 1])
        if gaps.max() > _UNEVEN * period:
            at += int(np.argmax(gaps > _UNEVEN * period)) + 1
            continue
        if low <= frames[at + count] - frames[at] <= high:
            cuts.append(Cut(int(frames[at]), int(frames[at + count])))
        at += count
    return cuts


def _at_novelty(
    positions: NDArray[np.floating], frames: Frames, cutting: Cutting, music: NDArray[np.floating] | None
) -> list[Cut]:
    """Phrases that end where novelty is highest, on a beat if there are beats (`frames`)."""
    if music is not None and len(music) >= len(positions):
        novelty = music_novelty(music[: len(positions)])
    else:
        novelty = pose_novelty(positions)
    first, last = (int(frames[0]), int(frames[-1])) if len(frames) else (0, len(positions))
    # Smoothed, because the peak is up to half a beat away from its beat.
    if len(frames):
        novelty = gaussian_filter1d(novelty, float(np.median(np.diff(frames))) / 4, mode="nearest")
    candidates = frames if len(frames) else argrelmax(novelty)[0]
    return _cheapest(-novelty, candidates, first, last, cutting, strict=bool(len(frames)))


def _at_pauses(positions: NDArray[np.floating], cutting: Cutting) -> list[Cut]:
    """Phrases that end where the body is slowest."""
    body = np.asarray(positions, np.float64)
    speed = np.linalg.norm(np.diff(body - 0.5 * body[:, [PELVIS]], axis=0), axis=-1).mean(1)
    speed = gaussian_filter1d(np.append(speed, speed[-1:]), _SMOOTH_SECONDS * FPS, mode="nearest")
    return _cheapest(speed, argrelmin(speed)[0], 0, len(body), cutting, strict=False)


def _cheapest(cost: Array, candidates: Frames, first: int, last: int, cutting: Cutting, strict: bool) -> list[Cut]:
    """Phrases from `first` to `last` whose ends and lengths have the lowest total cost.

    An end costs its standard score in `cost`, a length the square of its relative distance from the preferred one.

    Args:
        strict: end phrases at candidates only, even if frames are left over; else at any frame if candidates are too
            far apart.
    """
    limits = cutting.limits
    low, best, high = (round(s * FPS * cutting.eights) for s in STRETCH_SECONDS)
    low, high = max(low, limits[0]), min(high, limits[1])
    if low > high:
        low, high = limits
    spread = float(cost.std())
    score = np.append((cost - cost.mean()) / (spread if spread > 0 else 1.0), 0.0)  # the last end is no choice
    nodes = np.unique(np.append(candidates[(candidates > first) & (candidates < last)], (first, last)))
    cuts: list[Cut] = []
    while nodes[-1] - nodes[0] >= low:
        ends = _path(nodes, score, low, best, high)
        if ends[-1] != last and not strict:
            ends = _path(np.arange(nodes[0], last + 1), score, low, best, high)
        cuts += [Cut(at, end) for at, end in pairwise(ends)]
        # Beats may pause for a while and then continue.
        nodes = nodes[nodes > ends[-1]]
        if not len(nodes) or not strict:
            break
    return cuts


def _path(nodes: Frames, cost: Array, low: int, best: int, high: int) -> list[int]:
    """The cheapest path from the first node to the farthest reachable one, in steps of `low` to `high` frames.

    By dynamic programming; `cost` is that of ending a step at a frame.
    """
    total = np.full(len(nodes), np.inf)
    before = np.zeros(len(nodes), np.int64)
    total[0] = 0.0
    begin, end = np.searchsorted(nodes, nodes - high), np.searchsorted(nodes, nodes - low, side="right")
    for j in range(1, len(nodes)):
        if begin[j] < end[j]:
            steps = nodes[j] - nodes[begin[j] : end[j]]
            reached = total[begin[j] : end[j]] + (steps / best - 1) ** 2
            before[j] = begin[j] + int(np.argmin(reached))
            total[j] = reached.min() + cost[min(nodes[j], len(cost) - 1)]
    at = int(np.flatnonzero(np.isfinite(total))[-1])
    path = [at]
    while path[-1]:
        path.append(int(before[path[-1]]))
    return [int(nodes[j]) for j in reversed(path)]
