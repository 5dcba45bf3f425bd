"""Joining phrases into one motion: each is placed where the one before ends, and eased in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
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
"""Time over which the difference from the phrase before fades."""
MAX_FADE_SPEED: Final = 7.5
"""Cap on the difference of angular velocities that is carried over a seam, rad/s: beyond it a limb would overshoot."""
MAX_SHIFT_SPEED: Final = 1.5
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
        toes: (T, 2, 3) toe positions: measured near the floor, from the rotations elsewhere.
        contact: (T, 2) contact weights of the toes.
    """

    root: Array
    world: Array
    toes: Array
    contact: Array

    @classmethod
    def joined(cls, bodies: Sequence["Body"]) -> "Body":
        """The frames of several bodies, one after the other."""
        return cls(*(np.concatenate([getattr(body, f.name) for body in bodies]) for f in fields(cls)))

    def __getitem__(self, frames: slice | NDArray[np.int64]) -> "Body":
        return Body(self.root[frames], self.world[frames], self.toes[frames], self.contact[frames])

    def positions(self) -> Array:
        """Joint positions (T, 22, 3) from root and rotations."""
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
class PhraseMotion:
    """The body of a phrase, and the rotation vectors (T - 1, 22, 3) from each frame to the next."""

    body: Body
    steps: Array

    @classmethod
    def of(cls, positions: NDArray[np.floating]) -> "PhraseMotion":
        """The phrase with positions (T, 22, 3) at 30 fps."""
        fit = kinematics.fit(positions)
        toes = np.asarray(positions, np.float64)[:, support.TOES]
        body = Body(fit.root, fit.world, toes, support.contact_weight(toes))
        return cls(body, _difference(fit.world[:-1], fit.world[1:]))


def join(segments: Sequence[Segment], phrases: Mapping[int, PhraseMotion], fps: float) -> Array:
    """Positions (T, 22, 3) of all segments in sequence, starting at the origin and facing +z.

    Args:
        segments: of `retrieval.prior.chaining.chain`.
        phrases: motion by number, of all that the segments name.
        fps: frame rate of the segments.
    """
    whole = _sampled(segments, phrases)
    keep = np.empty(sum(len(segment.times) for segment in segments), np.int64)
    for number, segment in enumerate(segments):
        # In `whole` each segment is preceded by one more frame.
        at = segment.first + number + 1
        here = slice(at, at + len(segment.times))
        keep[segment.first : segment.first + len(segment.times)] = np.arange(here.start, here.stop)
        if number == 0:
            _start(whole[here])
        else:
            tail = whole[keep[max(segment.first - 2, 0) : segment.first]]
            _ease_in(whole[at - 1 : here.stop], tail, fps)
    whole = whole[keep]
    pull = _pull(support.floor_weight(whole.toes), [segment.first for segment in segments[1:]], fps)
    return support.place_feet(whole.positions(), whole.toes, whole.contact, pull)


def _sampled(segments: Sequence[Segment], phrases: Mapping[int, PhraseMotion]) -> Body:
    """The frames of all segments, each preceded by one more, as they are in the phrases.

    Between frames rotations are interpolated; just beyond either end of a phrase they are extrapolated.
    """
    used = sorted({segment.choice for segment in segments})
    source = Body.joined([phrases[i].body for i in used])
    # No step from the last frame of one phrase to the first of the next.
    steps = np.concatenate([np.pad(phrases[i].steps, ((0, 1), (0, 0), (0, 0))) for i in used])
    lengths = {i: len(phrases[i].body.root) for i in used}
    starts = dict(zip(used, np.cumsum([0, *lengths.values()]), strict=False))
    at, weights = [], []
    for segment in segments:
        length = lengths[segment.choice]
        x = np.clip(np.append(segment.times[0] - segment.step, segment.times) * FPS, -2, length + 1)
        frame = np.clip(np.floor(x).astype(np.int64), 0, length - 2)
        at.append(starts[segment.choice] + frame)
        weights.append(x - frame)
    frames, weight = np.concatenate(at), np.concatenate(weights)[:, None, None]
    body = Body(
        _mixed(source.root, frames, weight[..., 0]),
        _rotation(weight * steps[frames]) @ source.world[frames],
        _mixed(source.toes, frames, weight),
        _mixed(source.contact, frames, np.clip(weight[..., 0], 0, 1)),
    )
    by_rotations = body.positions()[:, support.TOES]
    body.toes[:] = by_rotations + support.floor_weight(body.toes)[..., None] * (body.toes - by_rotations)
    return body


def _mixed(values: Array, frames: NDArray[np.int64], weight: Array) -> Array:
    return values[frames] + weight * (values[frames + 1] - values[frames])


def _start(body: Body) -> None:
    """Move a body so that its first frame is at the origin and faces +z, in place."""
    angle = -float(kinematics.heading(body[:1].positions())[0])
    body.move(angle, -(rot.yaw(angle) @ body.root[0]) * (1, 0, 1))


def _ease_in(body: Body, tail: Body, fps: float) -> None:
    """Move a body so that it continues `tail`, the last two frames before it, in place.

    The difference between the two at the seam fades by a cubic that starts with the velocity of the difference; that
    of the feet decays as they travel.

    Args:
        body: its first frame is the one before the seam.
        tail: one or two frames.
        fps: frame rate.
    """
    now = _extrapolated(tail)
    old, new = Body.joined([now, body[1:2]]).positions()
    old[support.TOES], new[support.TOES] = now.toes[0], body.toes[1]
    body.move(*support.placement(old, new, tail.contact[-1] * body.contact[1]))

    frames = max(round(SEAM_SECONDS * fps), 1)
    u = np.arange(min(frames, len(body.root) - 1)) / frames
    value, slope = (1 + 2 * u) * (1 - u) ** 2, u * (1 - u) ** 2 * frames
    part = slice(1, 1 + len(u))
    turned, turned_before = _difference(
        np.stack([body.world[1], body.world[0]]), np.stack([now.world[0], tail.world[-1]])
    )
    drift = _capped(turned - turned_before, MAX_FADE_SPEED / fps)
    fade = value[:, None, None] * turned + slope[:, None, None] * drift
    body.world[part] = _rotation(fade) @ body.world[part]

    moved = now.root[0] - body.root[1]
    drift = _capped(moved - (tail.root[-1] - body.root[0]), MAX_SHIFT_SPEED / fps)
    body.root[part] += value[:, None] * moved + slope[:, None] * drift

    remaining = support.offset_decay(body.toes[1:], fps)
    moved = now.toes[0] - body.toes[1]
    drift = _capped(moved - (tail.toes[-1] - body.toes[0]), MAX_SHIFT_SPEED / fps)
    body.toes[1:] += remaining[..., None] * moved * (1, 0, 1)
    body.toes[part] += value[:, None, None] * moved * (0, 1, 0) + slope[:, None, None] * drift
    body.contact[part] += value[:, None] * (tail.contact[-1] - body.contact[part])


def _pull(floor_weight: Array, seams: Sequence[int], fps: float) -> Array:
    """How far (T, 2) legs move toes to their targets: fully around seams, elsewhere by the toes' floor weight."""
    near = np.zeros(len(floor_weight))
    near[list(seams)] = 1
    # Full for the time of the fade, and a smooth ramp of the same length on either side.
    half = max(round(SEAM_SECONDS * fps), 1)
    full = maximum_filter1d(near, 4 * half + 1, mode="constant", origin=0)
    ramp = np.hanning(2 * half + 3)[1:-1]
    near = np.convolve(np.pad(full, half, mode="edge"), ramp / ramp.sum(), mode="valid")
    return floor_weight + (1 - floor_weight) * near[:, None]


def _extrapolated(tail: Body) -> Body:
    """The frame after the last of `tail`, at constant velocity."""
    last = tail[-1:]
    if len(tail.root) < 2:
        return last
    return Body(
        2 * tail.root[-1:] - tail.root[-2:-1],
        _rotation(_difference(tail.world[-2:-1], tail.world[-1:])) @ tail.world[-1:],
        2 * tail.toes[-1:] - tail.toes[-2:-1],
        last.contact,
    )


def _capped(vectors: Array, longest: float) -> Array:
    return vectors * np.minimum(1, longest / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), rot.EPS))


def _difference(a: Array, b: Array) -> Array:
    """Rotation vectors (..., 22, 3), in world axes, from world rotations a (..., 22, 3, 3) to b.

    Whole rotations for pelvis and chest, twist-free ones for joints with one child, zeros for the others.
    """
    out = np.zeros((*a.shape[:-2], 3))
    out[..., _RIGID, :] = _vector(b[..., _RIGID, :, :] @ np.swapaxes(a[..., _RIGID, :, :], -1, -2))
    old = (a[..., _JOINTS, :, :] @ _OFFSETS[..., None])[..., 0]
    new = (b[..., _JOINTS, :, :] @ _OFFSETS[..., None])[..., 0]
    out[..., _JOINTS, :] = _scaled(rot.cross(old, new), (old * new).sum(-1, keepdims=True))
    return out


def _vector(rotation: Array) -> Array:
    """Rotation vectors (..., 3) of matrices (..., 3, 3); zero for half a turn, whose direction is undefined."""
    r = rotation
    skew = np.stack([r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]], axis=-1)
    return _scaled(skew / 2, (np.trace(r, axis1=-2, axis2=-1)[..., None] - 1) / 2)


def _scaled(vectors: Array, cosine: Array) -> Array:
    """Vectors (..., 3) whose length is the sine of an angle, rescaled to the angle itself."""
    sine = np.sqrt((vectors**2).sum(-1, keepdims=True))
    return np.arctan2(sine, cosine) / np.maximum(sine, rot.EPS) * vectors


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
