"""Which frames of a draft are key poses, and how they go together with what a request gives itself."""

from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.generators.base import KeyPoses
from choreo.generators.constraints import root_of
from choreo.generators.given_frames import GivenFrames
from choreo.motion.kinematics import heading
from choreo.motion.representation import Representation

CLOSEST: Final = 6
"""Frames between two key poses at least: at 30 fps, a beat at 300 BPM."""
PAUSE: Final = 2.5
"""Median periods; where beats are further apart, the music pauses."""

Array = NDArray[np.float64]
Frames = NDArray[np.int64]


def key_frames(num_frames: int, beats: NDArray[np.floating], fps: float, interval: int) -> Frames:
    """Frames (K,) that get a key pose, ascending: the beats, and every `interval` frames where there are none.

    Args:
        num_frames: of the motion.
        beats: seconds, in any order.
        fps: frames per second.
        interval: frames from one key pose to the next without beats.
    """
    on_beat = np.unique(np.rint(np.asarray(beats, np.float64) * fps).astype(np.int64))
    on_beat = on_beat[(on_beat >= 0) & (on_beat < num_frames)]
    if len(on_beat) < 2:
        return np.arange(0, num_frames, interval)
    longest = max(PAUSE * float(np.median(np.diff(on_beat))), interval)
    between: list[int] = []
    for before, after in pairwise([-interval, *on_beat.tolist(), num_frames - 1 + interval]):
        if after - before > longest:
            between += range(before + interval, after - CLOSEST, interval)
    chosen: list[int] = []
    for frame in sorted({*on_beat.tolist(), *between}):
        if 0 <= frame < num_frames and (not chosen or frame - chosen[-1] >= CLOSEST):
            chosen.append(frame)
    return np.array(chosen, np.int64)


def in_place_of(features: Array, own: GivenFrames, motion: Representation) -> Array:
    """A draft (T, C) turned and moved to go on from a start that a request gives: positions (T, 22, 3)."""
    positions = motion.decode(features, own.fps)
    if not own.posed[0]:
        return positions
    last = len(own.posed) - 1 if own.posed.all() else int(own.posed.argmin()) - 1
    there, here = own.positions[last][None], positions[min(last, len(positions) - 1)][None]
    angle = float(heading(there)[0] - heading(here)[0])
    positions = motion.decode(motion.rotate(features, angle), own.fps)
    positions[..., [0, 2]] += own.root[last] - root_of(positions[min(last, len(positions) - 1)])
    return positions


def with_key_poses(own: GivenFrames, draft: Array, frames: Frames, margin: int) -> tuple[GivenFrames, KeyPoses]:
    """What a request gives, and key poses of a draft where it leaves room.

    Args:
        own: given by the request, which comes first.
        draft: (T', 22, 3) positions of a motion that may end before this one.
        frames: that are to have key poses.
        margin: frames that key poses keep away from given poses, and from the ends of a loop.
    """
    taken = np.flatnonzero(own.posed)
    count = len(own.posed)
    away = np.full(count, margin + 1)
    if len(taken):
        all_frames = np.arange(count)
        after = np.searchsorted(taken, all_frames).clip(max=len(taken) - 1)
        away = np.minimum(np.abs(all_frames - taken[after]), np.abs(all_frames - taken[np.maximum(after - 1, 0)]))
    if own.loop:
        away = np.minimum(away, np.minimum(np.arange(count), np.arange(count)[::-1]))
    chosen = frames[(frames < min(len(draft), count))]
    chosen = chosen[away[chosen] > margin] if len(taken) or own.loop else chosen
    posed, positions, root = own.posed.copy(), own.positions.copy(), own.root.copy()
    posed[chosen], positions[chosen] = True, draft[chosen]
    if _leaves_places_free(own):
        root[chosen] = root_of(draft[chosen])
    merged = replace(own, posed=posed, positions=positions, root=root)
    return merged, KeyPoses(chosen, _placed(positions[chosen], root[chosen]))


def _leaves_places_free(own: GivenFrames) -> bool:
    """Whether no place is given but those of a start: elsewhere the draft may not say where the dancer is."""
    after_start = len(own.posed) if own.posed.all() else int(own.posed.argmin())
    return not own.loop and not own.placed[after_start:].any()


def _placed(positions: Array, root: Array) -> Array:
    """Positions (K, 22, 3) moved over the floor to where their root (K, 2) is given, if it is."""
    out = positions.copy()
    if len(out):
        shift = np.where(np.isfinite(root), root - root_of(out), 0)
        out[..., [0, 2]] += shift[:, None]
    return out
