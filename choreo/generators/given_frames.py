"""The frames of one motion that are given: whole poses, and where the root is over the floor."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from choreo.errors import InvalidInput
from choreo.generators.constraints import FIELD, Constraints, at_fps, check_way, root_of
from choreo.motion.clip import Motion
from choreo.motion.representation import Representation
from choreo.motion.retarget import refit
from choreo.motion.skeleton import FPS

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
LOOP_SECONDS: Final = 1.0
"""Time over which the two ends of a loop are led to each other."""


@dataclass(frozen=True)
class GivenFrames:
    """What is known of a motion of T frames.

    Attributes:
        posed: (T,) frames whose whole pose is given.
        positions: (T, 22, 3) metres, of the canonical skeleton, where `posed`; elsewhere 0.
        root: (T, 2) x and z of the root, metres; NaN where nothing is given.
        loop: whether the last frame is to lead into the first, neither of them given.
        fps: frames per second.
    """

    posed: Bools
    positions: Array
    root: Array
    loop: bool
    fps: float

    @property
    def placed(self) -> Bools:
        """(T,) frames at which the root's place is given."""
        return np.isfinite(self.root[:, 0])

    @property
    def in_world(self) -> bool:
        """Whether anything given says where the dancer is; otherwise the motion may be moved and turned."""
        return bool(self.placed.any())

    def moved_to_place(self, positions: Array) -> Array:
        """Positions (T, 22, 3) shifted over the floor so that the first given place is met."""
        frames = np.flatnonzero(self.placed)
        if not len(frames):
            return positions
        out = positions.copy()
        shift = self.root[frames[0]] - root_of(positions[frames[0]])
        out[..., [0, 2]] += shift
        return out

    def legs(self) -> Iterator[tuple[int, int, Array]]:
        """Frames a < b with given places and none between, not neighbours, and the way (2,) from a to b, metres."""
        frames = np.flatnonzero(self.placed)
        for a, b in pairwise(frames):
            if b - a > 1:
                yield int(a), int(b), self.root[b] - self.root[a]
        if self.loop and not len(frames):
            yield 0, len(self.root) - 1, np.zeros(2)


def given_frames(start: Motion | None, constraints: Constraints, num_frames: int, fps: float) -> GivenFrames:
    """The frames that a start and constraints give of a motion.

    Args:
        start: motion that it begins with.
        constraints: that `check_constraints` and `check_length` have passed.
        num_frames: T.
        fps: frames per second of the motion.

    Raises:
        InvalidInput: the root would have to travel too fast, or a path leads away from a given clip.
    """
    posed, positions, clips = np.zeros(num_frames, bool), np.zeros((num_frames, 22, 3)), np.zeros(num_frames, np.int64)

    def give(first: int, poses: Array) -> None:
        count = min(len(poses), num_frames - first)
        posed[first : first + count], positions[first : first + count] = True, refit(poses)[:count]
        clips[first : first + count] = clips.max() + 1 if count > 1 else 0

    if constraints.clip is not None and constraints.hold:
        clip = at_fps(constraints.clip, "clip", fps)
        for first, last in ((round(f * fps / FPS), round(g * fps / FPS)) for f, g in constraints.hold):
            give(first, clip[first : last + 1])
    for pose in constraints.key_poses:
        give(min(round(pose.frame * fps / FPS), num_frames - 1), pose.positions[None])
    if start is not None:
        give(0, at_fps(start, "start", fps))
    if constraints.end is not None:
        end = at_fps(constraints.end, "end", fps)
        give(num_frames - len(end), end)
    loops = constraints.loop and not posed[-1]
    if loops and posed[0]:
        give(num_frames - 1, positions[:1])
    root = np.where(posed[:, None], root_of(positions), np.nan)
    _place(root, posed, clips > 0, constraints, fps)
    there = np.flatnonzero(np.isfinite(root[:, 0]))
    check_way(there, root[there], clips[there], fps)
    shift = np.where(posed[:, None], root - root_of(positions), 0)
    positions[..., [0, 2]] += shift[:, None]
    return GivenFrames(posed, positions, root, loops and not posed[0], fps)


def known_frames(given: GivenFrames, length: int, motion: Representation) -> tuple[Array, Array]:
    """Features of what is given and their mask, both (length, C), not normalised.

    A velocity is known where the frame before is given as well.
    """
    frames = len(given.posed)
    known, mask = np.zeros((length, motion.channels)), np.zeros((length, motion.channels))
    if given.posed.any():
        # The frames between are no motion; what is encoded of them is masked.
        held = np.maximum.accumulate(np.where(given.posed, np.arange(frames), given.posed.argmax()))
        features, _ = motion.encode(given.positions[held], given.fps)
        follows = given.posed & np.concatenate([[False], given.posed[:-1]])
        mask[:frames] = given.posed[:, None]
        mask[:frames, motion.unknown_in_a_lone_pose] = follows[:, None]
        known[:frames] = features
    travels = given.placed & np.concatenate([[False], given.placed[:-1]])
    velocity = np.diff(given.root, axis=0, prepend=np.nan) * given.fps
    known[:frames, motion.root_velocity][travels] = velocity[travels]
    mask[:frames, motion.root_velocity] = travels[:, None]
    return known * mask, mask


def led(features: Array, given: GivenFrames, motion: Representation) -> Array:
    """Features (length, C), not normalised, whose root arrives where it is given and whose loop closes.

    A network that predicts velocities does not see where they lead. What is missing of the way between two given places
    is added to the velocities between them, most of it in the middle; at every step of the sampler, so that the network
    sees where it is going and steps accordingly. The ends of a loop meet half way between them.
    """
    out = np.array(features, np.float64)
    frames = len(given.posed)
    if given.loop:
        _close(out[:frames], given.fps)
    for a, b, way in given.legs():
        span = slice(a + 1, b + 1)
        share = np.hanning(b - a + 2)[1:-1, None]
        missing = way * given.fps - motion.root_velocity_of(out[span]).sum(axis=0)
        out[span, motion.root_velocity] += share / share.sum() * missing
    return out


def _place(root: Array, posed: Bools, clip: Bools, constraints: Constraints, fps: float) -> None:
    """Write where path and place put the root (T, 2), but for the frames of a given clip."""
    frames = np.arange(len(root))
    if constraints.path is not None:
        times, points = constraints.path[:, 0], constraints.path[:, 1:]
        covered = (frames / fps >= times[0] - 0.5 / fps) & (frames / fps <= times[-1] + 0.5 / fps)
        way = PchipInterpolator(times, points, axis=0)(np.clip(frames / fps, times[0], times[-1]))
        away = np.linalg.norm(np.where(covered & clip, 1, 0)[:, None] * (way - np.nan_to_num(root)), axis=1)
        if away.max() > 0.02:
            frame = int(away.argmax())
            raise InvalidInput(
                f"{FIELD}.path", f"is {away[frame]:.2f} m away from the given clip at frame {frame}: begin it after"
            )
        root[covered & ~clip] = way[covered & ~clip]
    if constraints.in_place:
        there = np.flatnonzero(posed)
        spot = root[there[0]] if len(there) else np.zeros(2)
        if posed[0]:  # a start may travel
            spot = root[np.argmin(posed) - 1] if not posed.all() else root[0]
        root[~clip] = spot


def _close(out: Array, fps: float) -> None:
    """Move the ends of features (T, C) half way to each other, in place, where they are free."""
    count = min(round(LOOP_SECONDS * fps), len(out) // 2)
    gap = out[0] - out[-1]
    s = np.arange(count)[:, None] / count
    fade = (2 * s**3 - 3 * s**2 + 1) * (gap / 2)
    out[:count] -= fade
    out[len(out) - count :] += fade[::-1]
