"""The sound of a film, decoded."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FILM_RATE: Final = 48_000
"""Hz."""


@dataclass(frozen=True, eq=False)
class Sound:
    """Stereo sound from the first frame of a film on.

    Attributes:
        samples: int16 (N, 2) at `FILM_RATE`, left and right.

    Raises:
        ValueError: samples of another kind.
    """

    samples: NDArray[np.int16]

    def __post_init__(self) -> None:
        if self.samples.dtype != np.int16 or self.samples.ndim != 2 or self.samples.shape[1] != 2:
            raise ValueError(f"samples must be int16 (N, 2), got {self.samples.dtype} {self.samples.shape}")

    @property
    def seconds(self) -> float:
        """N / FILM_RATE."""
        return len(self.samples) / FILM_RATE
