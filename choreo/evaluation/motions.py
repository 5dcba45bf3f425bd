"""A set of motions that is judged as a whole, with whatever belongs to each of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from choreo.errors import InvalidInput
from choreo.evaluation.checks import Array, feature_set, frame_rate, moving
from choreo.evaluation.geometric_features import geometric_features
from choreo.evaluation.kinetic_features import kinetic_features, with_hands
from choreo.motion.skeleton import FPS


@dataclass(frozen=True)
class Motions:
    """N motions.

    Attributes:
        name: who they are: "gt", "generated", "shuffled", ...
        positions: N arrays (T, 22, 3), metres, y up, floor at y = 0; lengths may differ.
        fps: frames per second of all of them.
        beats: of the music of each, seconds from its first frame, or None for one without music; None without any.
        captions: of each, or None; equal captions are one condition.
        text_embeddings: (N, D) of the captions in a co-embedding of text and motion, or None.
        motion_embeddings: (N, D) of the motions in the same space, or None.

    Raises:
        InvalidInput: no motions, one that is broken or has fewer than two frames, or attributes that do not pair.
    """

    name: str
    positions: Sequence[NDArray[Any]]
    fps: float = FPS
    beats: Sequence[ArrayLike | None] | None = None
    captions: Sequence[str] | None = None
    text_embeddings: NDArray[Any] | None = None
    motion_embeddings: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        frame_rate(self.fps)
        if not len(self.positions):
            raise InvalidInput(f"{self.name}.positions", "must hold at least one motion")
        for i, positions in enumerate(self.positions):
            moving(positions, f"{self.name}.positions[{i}]")
        for field in ("beats", "captions", "text_embeddings", "motion_embeddings"):
            values = getattr(self, field)
            if values is not None and len(values) != len(self):
                raise InvalidInput(f"{self.name}.{field}", f"must hold {len(self)} entries, got {len(values)}")
        for field in ("text_embeddings", "motion_embeddings"):
            if getattr(self, field) is not None:
                feature_set(getattr(self, field), f"{self.name}.{field}")

    def __len__(self) -> int:
        return len(self.positions)

    @cached_property
    def kinetic(self) -> Array:
        """(N, 72), with the hands on the wrists."""
        return np.stack([kinetic_features(with_hands(p), self.fps) for p in self.positions])

    @cached_property
    def geometric(self) -> Array:
        """(N, 32)."""
        return np.stack([geometric_features(p, self.fps) for p in self.positions])
