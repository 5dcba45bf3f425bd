"""A set of motions that metrics are computed on, with the music, caption and embeddings of each."""

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
from choreo.motion.performance import Performance
from choreo.motion.skeleton import FPS


@dataclass(frozen=True)
class Motions:
    """N motions.

    Attributes:
        name: of the subject: "gt", "generated", "shuffled", ...
        positions: N arrays (T, 22, 3), metres, y up, floor at y = 0; lengths may differ.
        fps: frames per second of all of them.
        beats: music beats of each, seconds from its first frame, None for a motion without music; None if none has any.
        captions: one each, or None; motions with equal captions belong to one condition.
        text_embeddings: (N, D) of the captions in a co-embedding of text and motion, or None.
        motion_embeddings: (N, D) of the motions in the same space, or None.

    Raises:
        InvalidInput: no motions, an unusable one or one of fewer than two frames, or attributes of another length.
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

    @classmethod
    def of_performances(
        cls,
        name: str,
        performances: Sequence[Performance],
        beats: Sequence[ArrayLike | None] | None = None,
        captions: Sequence[str] | None = None,
    ) -> "Motions":
        """Every dancer as one motion, in order, with the beats and the caption of its performance.

        Args:
            name: of the subject.
            performances: of one frame rate.
            beats: per performance, as `Motions.beats`.
            captions: per performance.
        Raises:
            InvalidInput: as `Motions` does, or performances of different frame rates.
        """
        rates = {performance.fps for performance in performances}
        if len(rates) > 1:
            raise InvalidInput(f"{name}.fps", f"must be one frame rate, got {sorted(rates)[:5]}")
        for field, values in (("beats", beats), ("captions", captions)):
            if values is not None and len(values) != len(performances):
                raise InvalidInput(f"{name}.{field}", f"must hold {len(performances)} entries, got {len(values)}")
        owner = [i for i, performance in enumerate(performances) for _ in performance.dancers]
        return cls(
            name,
            [dancer.positions for performance in performances for dancer in performance.dancers],
            rates.pop() if rates else FPS,
            None if beats is None else [beats[i] for i in owner],
            None if captions is None else [captions[i] for i in owner],
        )

    def __len__(self) -> int:
        return len(self.positions)

    @cached_property
    def kinetic(self) -> Array:
        """Kinetic features (N, 72), with each hand at its wrist."""
        return np.stack([kinetic_features(with_hands(p), self.fps) for p in self.positions])

    @cached_property
    def geometric(self) -> Array:
        """Geometric features (N, 32)."""
        return np.stack([geometric_features(p, self.fps) for p in self.positions])
