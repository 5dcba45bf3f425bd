"""What a request says of its motion beforehand: poses, spans of a clip, a path over the floor, a loop, one spot.

`Constraints` is what was asked for, independent of a generator's frame rate and of the length of the motion, which may
depend on a song. `choreo.generators.given_frames` turns it into frames of one motion.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion, check_positions
from choreo.motion.resample import resample, resampled_frames
from choreo.motion.skeleton import FPS, PELVIS

MAX_SPEED: Final = 6.0
"""Fastest way of the root from one given place to the next, m/s; dancers travel at up to 4."""
NEAR: Final = 0.02
"""Places of one frame that differ by less are the same, metres."""
FIELD: Final = "constraints"


@dataclass(frozen=True)
class KeyPose:
    """A pose at one frame.

    Attributes:
        frame: at 30 fps.
        positions: (22, 3) metres, y up, in the frame of reference of the result.
        field: name in errors.
    """

    frame: int
    positions: NDArray[np.float64]
    field: str


@dataclass(frozen=True)
class Constraints:
    """What a motion must keep to, all in one frame of reference: metres, y up, the floor at y = 0.

    Attributes:
        end: motion that the result ends with.
        key_poses: single poses, ascending and each at a frame of its own.
        clip: motion of which the spans of `hold` stay; frame k of it is frame k of the result.
        hold: first and last frame of each span, at 30 fps, ascending and apart.
        path: (N, 3) seconds, x and z of the root, ascending in time; None without one.
        loop: whether the last pose is to lead into the first.
        in_place: whether the root stays over one spot.
    """

    end: Motion | None = None
    key_poses: tuple[KeyPose, ...] = ()
    clip: Motion | None = None
    hold: tuple[tuple[int, int], ...] = ()
    path: NDArray[np.float64] | None = None
    loop: bool = False
    in_place: bool = False

    def __bool__(self) -> bool:
        has_frames = self.end is not None or bool(self.key_poses) or bool(self.hold)
        return has_frames or self.path is not None or self.loop or self.in_place


FREE: Final = Constraints()
"""Nothing is given."""


def key_pose(frame: int, positions: Sequence[Sequence[float]], field: str) -> KeyPose:
    """A checked key pose.

    Raises:
        InvalidInput: not 22 joints with three finite coordinates.
    """
    try:
        pose = np.asarray(positions, np.float64)
    except ValueError as error:
        raise InvalidInput(f"{field}.pose", "must be 22 lists of x, y and z, metres") from error
    where = f"{field}.pose"
    if pose.shape != (22, 3):
        raise InvalidInput(where, f"must be 22 joints with x, y and z in the order of SMPL, got shape {pose.shape}")
    check_positions(pose[None], where)
    return KeyPose(frame, pose, field)


def at_fps(motion: Motion, field: str, fps: float = FPS) -> NDArray[np.float64]:
    """Positions (T, 22, 3) of a motion at 30 fps, or another rate."""
    return resample(motion.positions, motion.fps, fps, field)


def check_constraints(constraints: Constraints) -> None:
    """Check what does not depend on the length of the motion.

    Raises:
        InvalidInput: what was asked for contradicts itself; the field names the item, the message the frame.
    """
    _check_poses(constraints)
    _check_hold(constraints)
    if constraints.path is not None:
        _check_path(constraints.path)
        if constraints.in_place:
            raise InvalidInput(f"{FIELD}.in_place", "cannot be combined with a path: give one of them")
    if constraints.in_place and constraints.hold:
        raise InvalidInput(f"{FIELD}.in_place", "cannot be combined with hold, whose clip says where the dancer is")
    if constraints.loop and constraints.end is not None:
        raise InvalidInput(f"{FIELD}.loop", "cannot be combined with an end: a loop ends with the pose it begins with")


def check_length(constraints: Constraints, start_frames: int, num_frames: int) -> None:
    """Check constraints against a motion of `num_frames` at 30 fps that begins with `start_frames` given ones.

    Raises:
        InvalidInput: something lies outside of the motion, meets something else, or nothing is left to generate.
    """
    taken = np.zeros(num_frames, bool)
    taken[:start_frames] = True
    seconds = num_frames / FPS
    for i, (first, last) in enumerate(constraints.hold):
        field = f"{FIELD}.hold.{i}"
        if last >= num_frames:
            raise InvalidInput(field, f"ends at frame {last}, but the motion has {num_frames} frames at {FPS} fps")
        _take(taken, first, last, field)
    if constraints.end is not None:
        frames = resampled_frames(constraints.end.num_frames, constraints.end.fps, FPS)
        if frames >= num_frames:
            raise InvalidInput("end", f"lasts {frames / FPS:.2f} s and the dance {seconds:.2f} s; nothing is left")
        _take(taken, num_frames - frames, num_frames - 1, "end")
    for pose in constraints.key_poses:
        if pose.frame >= num_frames:
            message = f"is at frame {pose.frame}, but the motion has {num_frames} frames at {FPS} fps"
            raise InvalidInput(pose.field, message)
        _take(taken, pose.frame, pose.frame, pose.field)
    if taken.all():
        raise InvalidInput(FIELD, f"give every one of the {num_frames} frames, which leaves nothing to generate")
    path = constraints.path
    if path is not None and round(path[-1, 0] * FPS) >= num_frames:
        last = len(path) - 1
        raise InvalidInput(f"{FIELD}.path.{last}", f"is at {path[-1, 0]:g} s, and the motion lasts {seconds:.2f} s")


def check_way(frames: NDArray[np.int64], root: NDArray[np.floating], clip: NDArray[np.int64], fps: float) -> None:
    """Check that the root, at places (N, 2) in ascending frames (N,), need not be faster than `MAX_SPEED`.

    Args:
        clip: (N,) number of the given clip that a frame is of, or 0; within a clip the root is as fast as it is.

    Raises:
        InvalidInput: it would; the message names the frames.
    """
    steps = np.linalg.norm(np.diff(root, axis=0), axis=1)
    speeds = np.maximum(steps - NEAR, 0) / np.maximum(np.diff(frames), 1) * fps
    speeds[(clip[1:] == clip[:-1]) & (clip[1:] > 0)] = 0
    if len(speeds) and speeds.max() > MAX_SPEED:
        i = int(speeds.argmax())
        raise InvalidInput(
            FIELD,
            f"the dancer would have to travel {steps[i]:.1f} m from frame {frames[i]} to frame {frames[i + 1]}, at "
            f"{speeds[i]:.1f} m/s; at most {MAX_SPEED:g} m/s is possible",
        )


def _take(taken: NDArray[np.bool_], first: int, last: int, field: str) -> None:
    again = np.flatnonzero(taken[first : last + 1])
    if len(again):
        raise InvalidInput(field, f"gives frame {first + again[0]}, which is given already")
    taken[first : last + 1] = True


def _check_poses(constraints: Constraints) -> None:
    for before, pose in pairwise(constraints.key_poses):
        if pose.frame == before.frame:
            raise InvalidInput(pose.field, f"is at frame {pose.frame}, as {before.field} is; give one pose a frame")


def _check_hold(constraints: Constraints) -> None:
    if not constraints.hold:
        return
    if constraints.clip is None:
        raise InvalidInput("clip", "is needed for constraints.hold: send the motion whose spans stay")
    frames, end = resampled_frames(constraints.clip.num_frames, constraints.clip.fps, FPS), -1
    for i, (first, last) in enumerate(constraints.hold):
        field = f"{FIELD}.hold.{i}"
        if not 0 <= first <= last:
            raise InvalidInput(field, f"must be a first and a last frame, ascending from 0; got {first} and {last}")
        if first <= end:
            raise InvalidInput(field, f"begins at frame {first}, within or before the span ahead of it")
        if last >= frames:
            raise InvalidInput(field, f"ends at frame {last}, but the clip has {frames} frames at {FPS} fps")
        end = last


def _check_path(path: NDArray[np.float64]) -> None:
    for i, (before, point) in enumerate(pairwise(path), 1):
        field = f"{FIELD}.path.{i}"
        if point[0] - before[0] < 1 / FPS:
            raise InvalidInput(field, f"is at {point[0]:g} s, not a frame (1/{FPS} s) or more after the point before")
        speed = float(np.linalg.norm(point[1:] - before[1:]) / (point[0] - before[0]))
        if speed > MAX_SPEED:
            raise InvalidInput(
                field, f"is reached at {speed:.1f} m/s from the point before; at most {MAX_SPEED:g} m/s is possible"
            )


def root_of(positions: NDArray[np.floating]) -> NDArray[np.float64]:
    """Place (..., 2) of the root over the floor, x and z, of positions (..., 22, 3)."""
    return np.asarray(positions, np.float64)[..., PELVIS, [0, 2]]
