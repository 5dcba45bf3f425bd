"""Two dancers in one world, on the canonical skeleton: what duets are learned from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion.skeleton import NUM_JOINTS


@dataclass(frozen=True)
class Couple:
    """A take of two dancers.

    Attributes:
        key: unique name.
        group: take or performance; splits keep groups together.
        dancers: (2, T, 22, 3) metres, y up, 30 fps, canonical bones, one floor at y = 0; the first one leads.
        licence: tag of its terms.

    Raises:
        InvalidInput: another shape, or NaN.
    """

    key: str
    group: str
    dancers: NDArray[np.float64]
    licence: str

    def __post_init__(self) -> None:
        if self.dancers.ndim != 4 or self.dancers.shape[::2] != (2, NUM_JOINTS) or self.dancers.shape[3] != 3:
            raise InvalidInput(self.key, f"must have shape (2, T, {NUM_JOINTS}, 3), got {self.dancers.shape}")
        if not np.isfinite(self.dancers).all():
            raise InvalidInput(self.key, "holds NaN or infinite coordinates")

    @property
    def num_frames(self) -> int:
        """T."""
        return self.dancers.shape[1]

    def part(self, first: int, last: int) -> "Couple":
        """Frames first to last - 1."""
        return Couple(f"{self.key}[{first}:{last}]", self.group, self.dancers[:, first:last], self.licence)
