"""Repair of tracks: spikes and jitter removed, missing frames filled, bones of constant length.

Frames that are missing are filled between the frames around them: a cubic for the pelvis, another for the pose in the
dancer's own heading, and a third for the heading, so that a dancer who was turning turns on instead of shrinking to a
line. Longer gaps than a second are not filled; the take is cut there.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from choreo.motion import rotations as rot
from choreo.motion.kinematics import heading
from choreo.motion.skeleton import NUM_JOINTS, PARENTS, PELVIS
from choreo.postprocess.smoothing import smooth

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

MAX_GAP_SECONDS: Final = 1.0
"""Longest stretch that is filled."""
SPIKE_SECONDS: Final = 0.25
"""Window of the median from which a spike stands out."""
SPIKE: Final = 0.22
"""Distance from that median from which a joint, relative to the pelvis, is a spike, metres."""
ROOT_SPIKE: Final = 0.35
"""The same for the pelvis; the frame is then missing."""
TANGENT_SECONDS: Final = 0.2
"""Time around a gap from which the velocity at its ends is taken."""
CARRY_SECONDS: Final = 0.4
"""In a longer gap the velocity at its ends counts less: limbs swing back."""


@dataclass(frozen=True)
class Repaired:
    """A dancer's track after repair.

    Attributes:
        positions: (T, 22, 3) metres.
        filled: (T,) frames in which the dancer was not seen.
        spikes: (T,) joints that were replaced.
        moved: (T,) mean distance by which smoothing moved the joints, metres; 0 in filled frames.
    """

    positions: Array
    filled: Mask
    spikes: NDArray[np.int64]
    moved: Array


def stretches(seen: Mask, fps: float) -> list[tuple[int, int]]:
    """First frame and end of the stretches in which no dancer is missing for longer than `MAX_GAP_SECONDS`.

    Args:
        seen: (people, T).
        fps: frames per second.
    """
    most = round(MAX_GAP_SECONDS * fps)
    there = np.ones(seen.shape[1], bool)
    for dancer in seen:
        for start, end in _runs(~dancer):
            if end - start > most or start == 0 or end == len(dancer):
                there[start:end] = False
    return [_trimmed(seen, start, end) for start, end in _runs(there) if _trimmed(seen, start, end)[1] > start]


def _trimmed(seen: Mask, start: int, end: int) -> tuple[int, int]:
    """The part of a stretch that begins and ends with a frame in which all are seen; empty if there is none."""
    all_seen = np.flatnonzero(seen[:, start:end].all(axis=0))
    return (start + int(all_seen[0]), start + int(all_seen[-1]) + 1) if len(all_seen) else (start, start)


def repaired(positions: Array, fps: float) -> Repaired:
    """Repair a track (T, 22, 3) in metres, y up, whose missing frames are NaN; the first and the last are not.

    Args:
        positions: of one dancer.
        fps: frames per second.
    """
    given = positions.copy()
    missing = np.isnan(given).any(axis=(1, 2))
    window = max(2 * round(SPIKE_SECONDS * fps / 2) + 1, 3)
    given[_root_spikes(given, missing, window)] = np.nan
    filled = np.isnan(given).any(axis=(1, 2))
    whole = fill(given, fps)
    spikes = _joint_spikes(whole, window)
    spikes[filled] = False
    whole = _without_spikes(whole, spikes)
    root, body = whole[:, PELVIS], whole - whole[:, [PELVIS]]
    calm = smooth(root[:, None], fps) + smooth(body, fps)
    moved = np.linalg.norm(calm - whole, axis=-1).mean(axis=1)
    moved[filled] = 0
    calm[filled] = np.nan  # filled once more, from ends without their noise
    rigid = constant_bones(fill(calm, fps), ~filled)
    return Repaired(rigid, filled, spikes.sum(axis=1) + NUM_JOINTS * (filled & ~missing), moved)


def _root_spikes(given: Array, missing: Mask, window: int) -> Mask:
    """Frames (T,) whose pelvis is far from where it is around them; never the first and the last."""
    out = np.zeros(len(given), bool)
    there = np.flatnonzero(~missing)
    root = given[there, PELVIS]
    middle = median_filter(root, size=(min(window, len(root)), 1), mode="nearest")
    out[there] = np.linalg.norm(root - middle, axis=1) > ROOT_SPIKE
    out[there[[0, -1]]] = False
    return out


def _joint_spikes(whole: Array, window: int) -> Mask:
    """Joints (T, 22) that are far from where they are around that frame, relative to the pelvis."""
    body = whole - whole[:, [PELVIS]]
    middle = median_filter(body, size=(min(window, len(body)), 1, 1), mode="nearest")
    return np.asarray(np.linalg.norm(body - middle, axis=-1) > SPIKE)


def _without_spikes(whole: Array, spikes: Mask) -> Array:
    out = whole.copy()
    frames = np.arange(len(whole))
    root = whole[:, PELVIS]
    for joint in np.flatnonzero(spikes.any(axis=0)):
        good = ~spikes[:, joint]
        if joint == PELVIS or good.sum() < 2:
            continue
        for axis in range(3):
            body = whole[good, joint, axis] - root[good, axis]
            out[~good, joint, axis] = root[~good, axis] + np.interp(frames[~good], frames[good], body)
    return out


def fill(positions: Array, fps: float) -> Array:
    """Fill the NaN frames of positions (T, 22, 3), whose first and last frames are there."""
    out = positions.copy()
    missing = np.isnan(positions).any(axis=(1, 2))
    if not missing.any():
        return out
    there = np.flatnonzero(~missing)
    angle = np.full(len(out), np.nan)
    angle[there] = np.unwrap(heading(positions[there]))
    for start, end in _runs(missing):
        _fill_gap(out, angle, start, end, fps)
    return out


def _fill_gap(out: Array, angle: Array, start: int, end: int, fps: float) -> None:
    """Fill frames start to end - 1; what is before them is whole."""
    reach = max(round(TANGENT_SECONDS * fps), 1)
    before = _known(out, range(start - 1, max(start - 1 - reach, -1), -1))[::-1]
    after = _known(out, range(end, min(end + reach, len(out))))
    gap = end - start + 1
    carry = min(1.0, CARRY_SECONDS * fps / gap) * gap
    at = (np.arange(start, end) - (start - 1)) / gap
    turn = angle[after[0]] - angle[before[-1]]
    turn -= 2 * np.pi * np.round((turn - _expected_turn(angle, before, after, gap, carry)) / (2 * np.pi))
    local = _in_heading(out, angle, before), _in_heading(out, angle, after)
    values = _hermite(local[0], local[1], before, after, carry, at)
    slopes = _slope(angle[before], before) * carry, _slope(angle[after], after) * carry
    turned = angle[before[-1]] + _cubic(np.zeros(()), turn, *slopes, at)
    roots = _hermite(out[before, PELVIS], out[after, PELVIS], before, after, carry, at)
    out[start:end] = roots[:, None] + np.einsum("tij,tkj->tki", rot.yaw(turned), values)
    angle[start:end] = turned
    angle[end:] += angle[before[-1]] + turn - angle[end]


def _expected_turn(angle: Array, before: list[int], after: list[int], gap: int, carry: float) -> float:
    """Radians that a dancer turns in a gap who was turning at its ends: at full speed for as long as that is likely to
    last, and at half of it for the rest. It decides between the ways round; the ends are known."""
    speed = (_slope(angle[before], before) + _slope(angle[after], after)) / 2
    return float(speed * (carry + gap) / 2)


def _known(out: Array, frames: range) -> list[int]:
    """The frames that are there, up to the first that is not."""
    found: list[int] = []
    for frame in frames:
        if np.isnan(out[frame]).any():
            break
        found.append(frame)
    return found


def _in_heading(out: Array, angle: Array, frames: list[int]) -> Array:
    """Poses (n, 22, 3) around the pelvis, turned so that they face +z."""
    body = out[frames] - out[frames][:, [PELVIS]]
    return np.asarray(np.einsum("tij,tkj->tki", rot.yaw(-angle[frames]), body))


def _hermite(a: Array, b: Array, before: list[int], after: list[int], carry: float, at: Array) -> Array:
    """Values (n, ...) between the last of a and the first of b, with the slopes of both."""
    return _cubic(a[-1], b[0], _slope(a, before) * carry, _slope(b, after) * carry, at)


def _cubic(start: Array, end: Array, slope: Array, slope_end: Array, at: Array) -> Array:
    """Cubic Hermite polynomial at times (n,) in 0..1."""
    s = at.reshape(-1, *([1] * start.ndim))
    h = 2 * s**3 - 3 * s**2 + 1, s**3 - 2 * s**2 + s, -2 * s**3 + 3 * s**2, s**3 - s**2
    return np.asarray(h[0] * start + h[1] * slope + h[2] * end + h[3] * slope_end)


def _slope(values: Array, frames: list[int]) -> Array:
    """Change per frame (...) of values (n, ...), by least squares; zero for less than three frames."""
    if len(frames) < 3:
        return np.zeros(np.shape(values)[1:])
    time = np.array(frames, np.float64) - np.mean(frames)
    return np.asarray(np.tensordot(time, values, 1) / (time**2).sum())


def constant_bones(positions: Array, measured: Mask) -> Array:
    """Positions (T, 22, 3) with the directions of their bones and the median lengths of the `measured` frames (T,)."""
    out = positions.copy()
    for joint in range(1, NUM_JOINTS):
        bone = positions[:, joint] - positions[:, PARENTS[joint]]
        lengths = np.linalg.norm(bone, axis=1)
        out[:, joint] = out[:, PARENTS[joint]] + rot.normalize(bone) * np.median(lengths[measured])
    return out


def _runs(mask: Mask) -> list[tuple[int, int]]:
    """First index and end of the runs of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
