"""One body from many phrases: each is put where the one before leaves off and eased into."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from choreo.motion import kinematics
from choreo.motion import rotations as rot
from choreo.motion.skeleton import CHEST, FPS, NUM_JOINTS, PARENTS, PELVIS, REST_OFFSETS, children
from retrieval.prior import support
from retrieval.prior.chaining import Segment

Array = NDArray[np.float64]

SEAM_SECONDS: Final = 0.47
"""Time in which what is left of the phrase before has faded."""
FASTEST_FADE: Final = 7.5
"""Cap on the difference of angular velocities that a seam carries over, rad/s: beyond it a limb would overshoot."""
FASTEST_SHIFT: Final = 1.5
"""The same for root and feet, m/s."""

_RIGID: Final = [PELVIS, CHEST]
_BONES: Final = tuple((j, children(j)[0]) for j in range(NUM_JOINTS) if len(children(j)) == 1)
_JOINTS: Final = [joint for joint, _ in _BONES]
_OFFSETS: Final = REST_OFFSETS[[child for _, child in _BONES]]


@dataclass(frozen=True)
class Body:
    """Frames of a dancer.

    Attributes:
        root: (T, 3) pelvis, metres.
        world: (T, 22, 3, 3) world rotations.
        toes: (T, 2, 3) where the toes are, as far as they are down; else where the rotations put them.
        stands: (T, 2) how far each does.
    """

    root: Array
    world: Array
    toes: Array
    stands: Array

    def __getitem__(self, frames: slice | NDArray[np.int64]) -> "Body":
        return Body(self.root[frames], self.world[frames], self.toes[frames], self.stands[frames])

    def positions(self) -> Array:
        """(T, 22, 3) by the rotations alone."""
        out = np.empty((len(self.root), NUM_JOINTS, 3))
        out[:, PELVIS] = self.root
        out[:, 1:] = np.einsum("tjab,jb->tja", self.world[:, PARENTS[1:]], REST_OFFSETS[1:])
        for joint in range(1, NUM_JOINTS):
            out[:, joint] += out[:, PARENTS[joint]]
        return out

    def move(self, angle: float, shift: Array) -> None:
        """Turn about the origin, then shift by (3,), in place."""
        turn = rot.yaw(angle)
        self.root[:] = self.root @ turn.T + shift
        self.world[:] = turn @ self.world
        self.toes[:] = self.toes @ turn.T + shift


@dataclass(frozen=True)
class Recording:
    """A phrase's body, and the rotation vectors (T - 1, 22, 3) from each frame to the next."""

    body: Body
    steps: Array

    @classmethod
    def of(cls, positions: NDArray[np.floating]) -> "Recording":
        """The phrase of positions (T, 22, 3) at 30 fps."""
        fit = kinematics.fit(positions)
        world = fit.world
        toes = np.asarray(positions, np.float64)[:, support.TOES]
        return cls(Body(fit.root, world, toes, support.standing(toes)), _difference(world[:-1], world[1:]))


def join(segments: Sequence[Segment], recordings: Mapping[int, Recording], fps: float) -> Array:
    """Positions (T, 22, 3) of all segments one after the other, beginning at the origin and facing +z."""
    whole = _sampled(segments, recordings)
    count = sum(len(segment.times) for segment in segments)
    keep = np.empty(count, np.int64)
    for number, segment in enumerate(segments):
        # In `whole` each segment has one frame more at its front.
        at = segment.first + number + 1
        here = slice(at, at + len(segment.times))
        keep[segment.first : segment.first + len(segment.times)] = np.arange(here.start, here.stop)
        if number == 0:
            _begin(whole[here])
        else:
            tail = whole[keep[max(segment.first - 2, 0) : segment.first]]
            _ease(whole[at - 1 : here.stop], tail, fps)
    whole = whole[keep]
    held = _held(support.low(whole.toes), [segment.first for segment in segments[1:]], fps)
    return support.stood(whole.positions(), whole.toes, whole.stands, held)


def _sampled(segments: Sequence[Segment], recordings: Mapping[int, Recording]) -> Body:
    """All segments' frames, each with the one before it in front, as the phrases have them.

    Between frames it goes by rotation; just beyond either end of a phrase it goes on.
    """
    used = sorted({segment.choice for segment in segments})
    tape = Body(*(np.concatenate([getattr(recordings[i].body, f) for i in used]) for f in _FIELDS))
    # No step from the last frame of one phrase to the first of the next.
    steps = np.concatenate([np.pad(recordings[i].steps, ((0, 1), (0, 0), (0, 0))) for i in used])
    lengths = {i: len(recordings[i].body.root) for i in used}
    starts = dict(zip(used, np.cumsum([0, *lengths.values()]), strict=False))
    at, weights = [], []
    for segment in segments:
        length = lengths[segment.choice]
        x = np.clip(np.append(segment.times[0] - segment.step, segment.times) * FPS, -2, length + 1)
        frame = np.clip(np.floor(x).astype(np.int64), 0, length - 2)
        at.append(starts[segment.choice] + frame)
        weights.append(x - frame)
    frames, weight = np.concatenate(at), np.concatenate(weights)[:, None, None]
    between = np.clip(weight[..., 0], 0, 1)
    body = Body(
        _mixed(tape.root, frames, weight[..., 0]),
        _rotation(weight * steps[frames]) @ tape.world[frames],
        _mixed(tape.toes, frames, weight),
        _mixed(tape.stands, frames, between),
    )
    by_rotations = body.positions()[:, support.TOES]
    body.toes[:] = by_rotations + support.low(body.toes)[..., None] * (body.toes - by_rotations)
    return body


def _mixed(values: Array, frames: NDArray[np.int64], weight: Array) -> Array:
    return values[frames] + weight * (values[frames + 1] - values[frames])


_FIELDS: Final = ("root", "world", "toes", "stands")


def _begin(body: Body) -> None:
    """Put a body's first frame at the origin, facing +z, in place."""
    angle = -float(kinematics.heading(body[:1].positions())[0])
    body.move(angle, -(rot.yaw(angle) @ body.root[0]) * (1, 0, 1))


def _ease(body: Body, tail: Body, fps: float) -> None:
    """Put a body where `tail`, the last two frames before it, leaves off, in place.

    The difference between the two at the seam fades by a cubic that also starts with its velocity, that of the feet as
    they travel.

    Args:
        body: its first frame is the one before the seam.
        tail: one or two frames.
    """
    now = _carried_on(tail)
    both = tail.stands[-1] * body.stands[1]
    old, new = Body(*(np.concatenate([getattr(b, f) for b in (now, body[1:2])]) for f in _FIELDS)).positions()
    old[support.TOES], new[support.TOES] = now.toes[0], body.toes[1]
    body.move(*support.placement(old, new, both))

    frames = max(round(SEAM_SECONDS * fps), 1)
    u = np.arange(min(frames, len(body.root) - 1)) / frames
    value, slope = (1 + 2 * u) * (1 - u) ** 2, u * (1 - u) ** 2 * frames
    part = slice(1, 1 + len(u))
    turned, turned_before = _difference(
        np.stack([body.world[1], body.world[0]]), np.stack([now.world[0], tail.world[-1]])
    )
    drift = _capped(turned - turned_before, FASTEST_FADE / fps)
    fade = value[:, None, None] * turned + slope[:, None, None] * drift
    body.world[part] = _rotation(fade) @ body.world[part]

    moved = now.root[0] - body.root[1]
    drift = _capped(moved - (tail.root[-1] - body.root[0]), FASTEST_SHIFT / fps)
    body.root[part] += value[:, None] * moved + slope[:, None] * drift

    left = support.fading(body.toes[1:], fps)
    moved = now.toes[0] - body.toes[1]
    drift = _capped(moved - (tail.toes[-1] - body.toes[0]), FASTEST_SHIFT / fps)
    body.toes[1:] += left[..., None] * moved * (1, 0, 1)
    body.toes[part] += value[:, None, None] * moved * (0, 1, 0) + slope[:, None, None] * drift
    body.stands[part] += value[:, None] * (tail.stands[-1] - body.stands[part])


def _held(low: Array, seams: Sequence[int], fps: float) -> Array:
    """How far (T, 2) legs bring toes to their places: all the way about seams, elsewhere as far as feet are down."""
    about = np.zeros(len(low))
    about[list(seams)] = 1
    # Full for the time of the fade, and a smooth ramp of the same length on either side.
    half = max(round(SEAM_SECONDS * fps), 1)
    full = maximum_filter1d(about, 4 * half + 1, mode="constant", origin=0)
    ramp = np.hanning(2 * half + 3)[1:-1]
    about = np.convolve(np.pad(full, half, mode="edge"), ramp / ramp.sum(), mode="valid")
    return low + (1 - low) * about[:, None]


def _carried_on(tail: Body) -> Body:
    """One frame after the last of `tail` at constant velocity."""
    last = tail[-1:]
    if len(tail.root) < 2:
        return last
    return Body(
        2 * tail.root[-1:] - tail.root[-2:-1],
        _rotation(_difference(tail.world[-2:-1], tail.world[-1:])) @ tail.world[-1:],
        2 * tail.toes[-1:] - tail.toes[-2:-1],
        last.stands,
    )


def _capped(vectors: Array, longest: float) -> Array:
    return vectors * np.minimum(1, longest / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), rot.EPS))


def _difference(a: Array, b: Array) -> Array:
    """Rotation vectors (..., 22, 3), in world axes, that take world rotations a (..., 22, 3, 3) to b.

    Whole rotations for pelvis and chest, twist-free ones for joints with one child, nothing for the others.
    """
    out = np.zeros((*a.shape[:-2], 3))
    out[..., _RIGID, :] = _vector(b[..., _RIGID, :, :] @ np.swapaxes(a[..., _RIGID, :, :], -1, -2))
    old = (a[..., _JOINTS, :, :] @ _OFFSETS[..., None])[..., 0]
    new = (b[..., _JOINTS, :, :] @ _OFFSETS[..., None])[..., 0]
    out[..., _JOINTS, :] = _scaled(_cross(old, new), (old * new).sum(-1, keepdims=True))
    return out


def _vector(rotation: Array) -> Array:
    """Rotation vectors (..., 3) of matrices (..., 3, 3); of half a turn, which may go either way, zero."""
    r = rotation
    skew = np.stack([r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]], axis=-1)
    return _scaled(skew / 2, (np.trace(r, axis1=-2, axis2=-1)[..., None] - 1) / 2)


def _scaled(vectors: Array, cosine: Array) -> Array:
    """Vectors (..., 3) as long as the sine of an angle made as long as the angle."""
    sine = np.sqrt((vectors**2).sum(-1, keepdims=True))
    return np.arctan2(sine, cosine) / np.maximum(sine, rot.EPS) * vectors


def _cross(a: Array, b: Array) -> Array:
    x, y, z = (a[..., i] for i in range(3))
    u, v, w = (b[..., i] for i in range(3))
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=-1)


def _rotation(vectors: Array) -> Array:
    """Matrices (..., 3, 3) of rotation vectors (..., 3): Rodrigues' formula, written out for speed."""
    x, y, z = np.ascontiguousarray(np.moveaxis(vectors, -1, 0))
    square = x * x + y * y + z * z
    angle = np.maximum(np.sqrt(square), rot.EPS)
    sine, versine = np.sin(angle) / angle, (1 - np.cos(angle)) / (angle * angle)
    cosine = 1 - versine * square
    xy, yz, zx = versine * x * y, versine * y * z, versine * z * x
    x_turn, y_turn, z_turn = sine * x, sine * y, sine * z
    rows = [
        [cosine + versine * x * x, xy - z_turn, zx + y_turn],
        [xy + z_turn, cosine + versine * y * y, yz - x_turn],
        [zx - y_turn, yz + x_turn, cosine + versine * z * z],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
