"""What every recording goes through before it is used: y becomes up, and a calibration pose at its start is dropped."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion.calibration import calibration_frames
from choreo.motion.upright import AUTO, find_up

NOTED_SECONDS: Final = 0.1
"""A calibration pose that lasts longer is mentioned: beats and captions move by as much."""


@dataclass(frozen=True)
class Recorded:
    """A recording that is ready for use.

    Attributes:
        positions: (T, 22, 3) metres, y up.
        dropped: seconds that were cut from its start.
        notes: what was done to it.
    """

    positions: NDArray[np.float64]
    dropped: float = 0.0
    notes: tuple[str, ...] = ()


def recorded(
    positions: NDArray[np.floating], fps: float, up: str = AUTO, *, convention: str = "y", rest: str | None = None
) -> Recorded:
    """Turn a recording upright, and drop a calibration pose that it begins with.

    Args:
        positions: (T, 22, 3) metres.
        fps: frames per second.
        up, convention, rest: see `upright.find_up`.

    Raises:
        InvalidInput: `up` is no axis.
    """
    way_up = find_up([positions], up, convention=convention, rest=rest)
    turned = way_up.turned(positions)
    frames = calibration_frames(turned, fps)
    notes = [way_up.note] if way_up.note else []
    if frames / fps >= NOTED_SECONDS:
        notes.append(f"begins with {frames / fps:.2f} s of a calibration pose, which are left out")
    return Recorded(turned[frames:], frames / fps, tuple(notes))
