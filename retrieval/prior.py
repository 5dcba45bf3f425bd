"""From retrieved phrases to a motion prior: one continuous motion of the wanted length, on the wanted beats.

At every moment it is one phrase that plays, never a mean of several. All interpolation is of rotations, so bones keep
their lengths and swings their amplitude. A joint with one child counts by the direction of its bone: its twist does
not show in positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from choreo.errors import InvalidInput
from choreo.motion import kinematics
from choreo.motion import rotations as rot
from choreo.motion.clip import MAX_FRAMES
from choreo.motion.representation import CHANNELS, encode
from choreo.motion.skeleton import CHEST, FPS, NUM_JOINTS, PARENTS, PELVIS, REST_OFFSETS, children
from retrieval.library import Hit, PhraseLibrary
from retrieval.timing import Segment, chain

Array = NDArray[np.float64]

SEAM_SECONDS: Final = 1 / 3
"""Time in which what is left of the phrase before has faded."""
FASTEST_FADE: Final = 7.5
"""Cap on the difference of angular velocities that a seam carries over, rad/s: beyond it a limb would overshoot."""

_RIGID: Final = (PELVIS, CHEST)
_BONES: Final = tuple((j, children(j)[0]) for j in range(NUM_JOINTS) if len(children(j)) == 1)
_JOINTS: Final = [joint for joint, _ in _BONES]
_OFFSETS: Final = REST_OFFSETS[[child for _, child in _BONES]]


@dataclass(frozen=True)
class BuiltPrior:
    """A motion prior that begins at the origin and faces +z.

    Attributes:
        features: float32 (num_frames, 66) as `choreo.motion.representation.encode` makes them, not normalised.
        mask: float32 (num_frames,), 1 where there is motion.
        phrases: what was used: `id`, `score`, `weight` (share of the frames) and `source` of each.
    """

    features: NDArray[np.float32]
    mask: NDArray[np.float32]
    phrases: list[dict[str, Any]]


@dataclass(frozen=True)
class _Body:
    """Root positions (T, 3) and world rotations (T, 22, 3, 3)."""

    root: Array
    world: Array


@dataclass(frozen=True)
class _Recording:
    """A phrase's body, and the rotation vectors (T - 1, 22, 3) from each frame to the next."""

    body: _Body
    steps: Array


def build_prior(
    library: PhraseLibrary, hits: Sequence[Hit], num_frames: int, beats: ArrayLike = (), fps: float = FPS
) -> BuiltPrior:
    """Chain the hits, best first and over again, into num_frames of motion.

    Args:
        library: where the hits were found.
        hits: phrases to use; give one for a prior from the best alone. None: an empty prior, its mask all 0.
        num_frames: length of the prior.
        beats: of the song, seconds from the first frame; phrase beats are moved onto them.
        fps: frame rate of the prior.
    Raises:
        InvalidInput: a length or frame rate that makes no sense.
    """
    if not 1 <= num_frames <= MAX_FRAMES:
        raise InvalidInput("num_frames", f"must be between 1 and {MAX_FRAMES}, got {num_frames}")
    if not (np.isfinite(fps) and 1 <= fps <= 1000):
        raise InvalidInput("fps", f"must be between 1 and 1000, got {fps}")
    if not hits:
        return BuiltPrior(np.zeros((num_frames, CHANNELS), np.float32), np.zeros(num_frames, np.float32), [])
    segments = chain([hit.phrase for hit in hits], num_frames, beats, fps)
    used = sorted({segment.choice for segment in segments})
    recordings = {choice: _fitted(library.motion(hits[choice].phrase)) for choice in used}
    body = _joined(segments, recordings, fps)
    features, _ = encode(_place(body.root, body.world), fps)
    return BuiltPrior(features.astype(np.float32), np.ones(num_frames, np.float32), _used(hits, segments, num_frames))


def _used(hits: Sequence[Hit], segments: Sequence[Segment], num_frames: int) -> list[dict[str, Any]]:
    frames: dict[str, int] = {}
    by_id = {hit.phrase.id: hit for hit in reversed(hits)}
    for segment in segments:
        name = hits[segment.choice].phrase.id
        frames[name] = frames.get(name, 0) + len(segment.times)
    return [
        {
            "id": name,
            "score": round(by_id[name].score, 4),
            "weight": round(count / num_frames, 4),
            "source": by_id[name].phrase.source,
        }
        for name, count in frames.items()
    ]


def _fitted(positions: NDArray[np.floating]) -> _Recording:
    fit = kinematics.fit(positions)
    world = kinematics.world_rotations(fit.local)
    return _Recording(_Body(fit.root, world), _difference(world[:-1], world[1:]))


def _joined(segments: Sequence[Segment], recordings: dict[int, _Recording], fps: float) -> _Body:
    """All segments one after the other, each turned and eased into from where the one before left off."""
    count = sum(len(s.times) for s in segments)
    world, height, velocity = np.empty((count, NUM_JOINTS, 3, 3)), np.empty(count), np.zeros((count, 3))
    for segment in segments:
        # One frame more at the front: the frame before, as the phrase would have had it.
        part = _sampled(recordings[segment.choice], np.concatenate([segment.times[:1] - segment.step, segment.times]))
        here = slice(segment.first, segment.first + len(segment.times))
        speed = np.diff(part.root, axis=0) * (1, 0, 1) * fps
        now = _carried_on(world[: segment.first]) if segment.first else None
        turn = rot.yaw((0.0 if now is None else _heading(now)) - _heading(part.world[1]))
        turned, speed = turn @ part.world, speed @ turn.T
        world[here], height[here], velocity[here] = turned[1:], part.root[1:, 1], speed
        if now is not None:
            _ease_in(segment.first, here, turned[0], part.root[0, 1], now, world, height, velocity, fps)
    velocity[0] = 0
    root = np.cumsum(velocity, axis=0) / fps
    root[:, 1] = height
    return _Body(root, world)


def _ease_in(
    first: int, here: slice, before: Array, height_before: float, now: Array, world: Array, height: Array,
    velocity: Array, fps: float,
) -> None:  # fmt: skip
    """Let the difference between the two phrases at a seam fade, by a cubic that also starts with its velocity.

    Args:
        first: frame of the seam.
        here: frames of the new phrase.
        before, height_before: the new phrase one frame earlier.
        now: (22, 3, 3) the old phrase, had it gone on to the seam.
        world, height, velocity: the whole timeline, changed in place from the seam on.
    """
    frames = max(round(SEAM_SECONDS * fps), 1)
    u = np.arange(min(frames, here.stop - first)) / frames
    value = (1 + 2 * u) * (1 - u) ** 2
    slope = u * (1 - u) ** 2 * frames
    part = slice(first, first + len(u))
    offset = _difference(world[first], now)
    drift = offset - _difference(before, world[first - 1])
    limit = FASTEST_FADE / fps
    drift *= np.minimum(1, limit / np.maximum(np.linalg.norm(drift, axis=-1, keepdims=True), rot.EPS))
    fading = value[:, None, None] * offset + slope[:, None, None] * drift
    world[part] = _rotation(fading) @ world[part]
    last, then = height[first - 1], height[max(first - 2, 0)]
    rise = float(np.clip(2 * last - then - height[first], -0.3, 0.3))
    height[part] += value * rise + slope * np.clip(rise - (last - height_before), -0.05, 0.05)
    velocity[part] += value[:, None] * (velocity[first - 1] - velocity[first])


def _carried_on(world: Array) -> Array:
    """World rotations (22, 3, 3) one frame after the last of (T, 22, 3, 3) at constant angular velocity."""
    if len(world) < 2:
        return world[-1]
    return _rotation(_difference(world[-2], world[-1])) @ world[-1]


def _sampled(recording: _Recording, times: Array) -> _Body:
    """The body at times (n,) in seconds, between frames by rotation; just beyond either end it goes on."""
    body = recording.body
    x = np.clip(times * FPS, -2, len(body.root) + 1)
    at = np.clip(np.floor(x).astype(int), 0, len(body.root) - 2)
    weight = x - at
    world = _rotation(weight[:, None, None] * recording.steps[at]) @ body.world[at]
    root = body.root[at] + weight[:, None] * (body.root[at + 1] - body.root[at])
    return _Body(root, world)


def _difference(a: Array, b: Array) -> Array:
    """Rotation vectors (..., 22, 3), in world axes, that take world rotations a (..., 22, 3, 3) to b.

    Whole rotations for pelvis and chest, twist-free ones for joints with one child, nothing for the others.
    """
    out = np.zeros((*np.broadcast_shapes(a.shape, b.shape)[:-2], 3))
    rigid = list(_RIGID)
    out[..., rigid, :] = rot.to_axis_angle(b[..., rigid, :, :] @ np.swapaxes(a[..., rigid, :, :], -1, -2))
    old = (a[..., _JOINTS, :, :] @ _OFFSETS[..., None])[..., 0]
    new = (b[..., _JOINTS, :, :] @ _OFFSETS[..., None])[..., 0]
    out[..., _JOINTS, :] = _arc(old, new)
    return out


def _arc(a: Array, b: Array) -> Array:
    """Rotation vectors (..., 3) of the shortest arcs from directions a to b; for opposite ones, zero.

    A limb that has to turn by 180 degrees has no way that is better than the others.
    """
    cross = np.cross(a, b)
    sin, cos = np.linalg.norm(cross, axis=-1, keepdims=True), (a * b).sum(-1, keepdims=True)
    return np.arctan2(sin, cos) * cross / np.maximum(sin, rot.EPS)


def _rotation(vectors: Array) -> Array:
    """Matrices (..., 3, 3) of rotation vectors (..., 3)."""
    return rot.axis_angle(rot.normalize(vectors), np.linalg.norm(vectors, axis=-1))


def _place(root: Array, world: Array) -> Array:
    """Positions (..., 22, 3) of root positions and world rotations."""
    positions = np.empty((*root.shape[:-1], NUM_JOINTS, 3))
    positions[..., PELVIS, :] = root
    for joint in range(1, NUM_JOINTS):
        parent = PARENTS[joint]
        positions[..., joint, :] = positions[..., parent, :] + world[..., parent, :, :] @ REST_OFFSETS[joint]
    return positions


def _heading(world: Array) -> float:
    return float(kinematics.heading(_place(np.zeros(3), world)))
