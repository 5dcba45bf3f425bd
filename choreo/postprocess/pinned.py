"""Given poses put back after post-processing, and the correction eased into the frames around them.

Smoothing, the floor and the foot lock move whole stretches of a motion by centimetres, given poses among them.
Rotations and root are corrected by what each given pose lacks; around it the correction fades along a smooth step.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion import rotations as rot
from choreo.motion.kinematics import fit
from choreo.motion.skeleton import FPS
from choreo.postprocess.contacts import spans

Array = NDArray[np.float64]

EASE_SECONDS: Final = 0.5
"""Time over which a correction fades."""


@dataclass(frozen=True)
class Pinned:
    """Poses that post-processing must leave where they are.

    Attributes:
        frames: (T,) bool.
        positions: (T, 22, 3) metres, of the canonical skeleton; read where `frames` holds.
        loop: whether the last frame is to have the pose and the height of the first, where that is.
        placed: (T,) bool, frames at which at least the root's place over the floor is given; None: those of `frames`.
    """

    frames: NDArray[np.bool_]
    positions: Array
    loop: bool = False
    placed: NDArray[np.bool_] | None = None

    @property
    def held(self) -> NDArray[np.bool_]:
        """(T,) frames at which the body must not be moved over the floor; a loop ends where it began."""
        held = self.frames.copy() if self.placed is None else self.frames | self.placed
        held[-1:] |= self.loop
        return held

    def with_end(self, finished: Array) -> "Pinned":
        """The same and, of a loop, the last pose, as the first of `finished` (T, 22, 3) is."""
        if not self.loop:
            return self
        frames, positions = self.frames.copy(), self.positions.copy()
        shift = (finished[-1, 0] - finished[0, 0]) * (1, 0, 1)
        frames[-1], positions[-1] = True, finished[0] + shift
        return Pinned(frames, positions)


def put_back(root: Array, world: Array, pinned: Pinned, fps: float = FPS) -> tuple[Array, Array]:
    """Root (T, 3) and world rotations (T, 22, 3, 3) that are the given ones at pinned frames.

    Args:
        root: metres.
        world: rotations of the joints in the world.
        pinned: the given ones, if there are any.
        fps: frames per second.
    """
    at = pinned.frames
    if not at.any():
        return root, world
    wanted = fit(pinned.positions[at])
    shift, turn = np.zeros_like(root), np.zeros((*world.shape[:2], 3))
    shift[at] = wanted.root - root[at]
    turn[at] = rot.rotation_vector(wanted.world @ np.swapaxes(world[at], -1, -2))
    shift, turn = faded(shift, at, fps), faded(turn, at, fps)
    moved = np.flatnonzero(rot.length(turn).max(axis=1) > 0)
    out = world.copy()
    angle = rot.length(turn[moved])
    out[moved] = rot.axis_angle(turn[moved] / np.maximum(angle, 1e-12)[..., None], angle) @ world[moved]
    out[at] = wanted.world
    return root + shift, out


def put_back_positions(positions: Array, pinned: Pinned, fps: float = FPS) -> Array:
    """Positions (T, 22, 3), without rotations, that are the given ones at pinned frames."""
    lacking = np.where(pinned.frames[:, None, None], pinned.positions - positions, 0)
    return positions + faded(lacking, pinned.frames, fps)


def faded(correction: Array, at: NDArray[np.bool_], fps: float = FPS) -> Array:
    """A correction (T, ...) of the frames `at` (T,), continued into those around, where it fades within half a second.

    In gaps that are shorter it passes from the one end's to the other's.
    """
    out = np.where(at.reshape(-1, *[1] * (correction.ndim - 1)), correction, 0)
    frames = max(2, round(EASE_SECONDS * fps))
    runs = spans(at)
    for i, (first, last) in enumerate(runs):
        after = int(runs[i + 1][0]) if i + 1 < len(runs) else None
        before = int(runs[i - 1][1]) if i else None
        for edge, end, step in ((int(last), after, 1), (int(first), before, -1)):
            span = frames if end is None else min(frames, abs(end - edge))
            room = span if end is not None else min(span, len(out) - edge if step > 0 else edge + 1)
            for k in range(1, room):
                s = k / span
                out[edge + step * k] += (1 - s * s * (3 - 2 * s)) * correction[edge]
    return out
