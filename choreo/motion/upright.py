"""Which way is up in a recording, decided over the whole motion, and turning it so that y is.

A dancer who stands has the head above the pelvis and the feet below it, and the lowest point of the body stays where
the floor is. One who lies or spins on the head has neither for a while, so a single pose says nothing: shares over the
motion are weighed, and what the rest pose or, without one, the format says stands unless the motion clearly denies it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion import rotations as rot
from choreo.motion.skeleton import L_ANKLE, NECK, PELVIS, R_ANKLE

Array = NDArray[np.float64]

AUTO: Final = "auto"
AXES: Final = ("x", "y", "z", "-x", "-y", "-z")
UP_CHOICES: Final = (AUTO, *AXES)
"""Values of the option `--up`."""
UP_HELP: Final = "Axis that points up in motion files: auto, x, y, z, -x, -y or -z."
"""What the option's help says."""

_TRUNK, _LEGS = 0.7, 0.3
"""Least cosines of trunk and legs with the way up in a standing or sitting pose."""
_STEADY: Final = 0.15
"""Spread of the floor's height at which it speaks for an axis by 1 / e, in leg lengths."""
_NO_FLOOR: Final = 0.35
"""Spread beyond which it cannot be the floor that holds the body's lowest point, in leg lengths."""
_ON_GROUND: Final = 0.12
"""Distance of the floor from the origin up to which it is taken to be at 0, in leg lengths."""
_FLOOR_WEIGHT, _GROUND_WEIGHT, _EXPECTED_WEIGHT = 0.75, 0.25, 0.5
"""Next to the share of frames that stand along an axis: what a steady floor, a floor at 0 and being expected weigh."""
_REST: Final = 0.8
"""Least cosine of trunk and legs with an axis in a rest pose that stands along it."""
_MAX_SAMPLED: Final = 2000

_TO_Y: Final[dict[str, Array]] = {
    "y": np.eye(3),
    "z": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "-z": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "x": np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    "-x": np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
    "-y": np.array([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]]),
}


@dataclass(frozen=True)
class Upright:
    """Which way is up in a recording.

    Attributes:
        axis: of `AXES`, which is to become y.
        note: what was found, empty where the recording is as its format says.
    """

    axis: str
    note: str = ""

    @property
    def rotation(self) -> Array:
        """(3, 3), turns the recording's axes into those with y up."""
        return _TO_Y[self.axis]

    def turned(self, positions: NDArray[np.floating]) -> Array:
        """Positions (..., 3) with y up."""
        p = np.asarray(positions, np.float64)
        return p.copy() if self.axis == "y" else p @ self.rotation.T


def check_up(up: str, field: str = "up") -> str:
    """One of `UP_CHOICES`, in any case and with or without a plus sign.

    Raises:
        InvalidInput: it is none.
    """
    wanted = up.strip().lower().removeprefix("+")
    if wanted not in UP_CHOICES:
        raise InvalidInput(field, f"must be one of {', '.join(UP_CHOICES)}, got {up[:32]!r}")
    return wanted


def find_up(
    dancers: Sequence[NDArray[np.floating]], up: str = AUTO, *, convention: str = "y", rest: str | None = None
) -> Upright:
    """Which way is up for dancers in one world.

    Args:
        dancers: positions (T, 22, 3) of each, in any unit.
        up: `auto`, or the axis to take without looking.
        convention: the axis that the format prescribes.
        rest: the axis that the file's rest pose stands along; None if there is none.

    Raises:
        InvalidInput: `up` is none of `UP_CHOICES`.
    """
    wanted = check_up(up)
    if wanted != AUTO:
        note = "" if wanted == convention else f"is turned: {wanted} is up, as was asked for"
        return Upright(wanted, note)
    seen = {axis: _evidence(dancers, axis) for axis in AXES}
    expected = convention if rest is None else rest
    best = max(AXES, key=lambda axis: seen[axis].score + _EXPECTED_WEIGHT * (axis == expected))
    sure = seen[best].score > seen[expected].score + _EXPECTED_WEIGHT
    if rest is not None:  # somebody who lies looks like somebody who stands on a wall, but for the floor
        there = seen[expected]
        sure = sure and (there.spread >= _NO_FLOOR or (seen[best].on_ground and not there.on_ground))
    axis = best if sure else expected
    if axis == convention:
        return Upright(axis)
    turned = "is not turned" if axis == "y" else "is turned"
    return Upright(axis, f"{turned}: {axis} is up, where head and feet are, and not {convention} as in its format")


def rest_up(rest: NDArray[np.floating]) -> str | None:
    """The axis that a rest pose (22, 3) stands along, None if it stands along none."""
    trunk, legs = _directions(np.asarray(rest, np.float64)[None])
    both = np.minimum(trunk[0], legs[0]), np.minimum(-trunk[0], -legs[0])
    for axis, values in (("", both[0]), ("-", both[1])):
        if values.max() >= _REST:
            return f"{axis}{'xyz'[int(values.argmax())]}"
    return None


@dataclass(frozen=True)
class _Evidence:
    """What the motion says of an axis: share of frames that stand along it, and spread and place of the floor."""

    stands: float
    spread: float
    on_ground: bool

    @property
    def score(self) -> float:
        floor = _FLOOR_WEIGHT * float(np.exp(-self.spread / _STEADY))
        return self.stands + floor + _GROUND_WEIGHT * self.on_ground


def _evidence(dancers: Sequence[NDArray[np.floating]], axis: str) -> _Evidence:
    stands, lows = [], []
    for positions in dancers:
        step = -(-len(positions) // _MAX_SAMPLED)
        p = np.asarray(positions, np.float64)[::step] @ _TO_Y[axis].T
        trunk, legs = _directions(p)
        stands.append(float(((trunk[:, 1] >= _TRUNK) & (legs[:, 1] >= _LEGS)).mean()))
        size = float(np.median(np.linalg.norm(p[:, PELVIS] - p[:, [L_ANKLE, R_ANKLE]].mean(axis=1), axis=1)))
        lows.append(p[..., 1].min(axis=1) / max(size, 1e-9))
    lowest = np.concatenate(lows)
    low, high = np.percentile(lowest, [5, 80])  # jumps leave the floor for a while
    return _Evidence(float(np.mean(stands)), float(high - low), bool(abs(np.median(lowest)) <= _ON_GROUND))


def _directions(p: Array) -> tuple[Array, Array]:
    """Unit vectors (T, 3) of trunk, pelvis to neck, and of legs, ankles to pelvis."""
    return (
        rot.normalize(p[:, NECK] - p[:, PELVIS]),
        rot.normalize(p[:, PELVIS] - p[:, [L_ANKLE, R_ANKLE]].mean(axis=1)),
    )
