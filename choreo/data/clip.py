"""One training clip: motion on the canonical skeleton with whatever music, captions and provenance it came with."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from choreo.motion.kinematics import heading
from choreo.motion.representation import encode


@dataclass(frozen=True)
class Caption:
    """A sentence about frames start..end of a clip."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Track:
    """Motion that accompanies a clip frame by frame: features (T, 66) and unwrapped heading (T,), float32."""

    features: NDArray[np.float32]
    heading: NDArray[np.float32]


@dataclass(frozen=True)
class Clip:
    """Motion features with their conditioning, all at 30 fps.

    Attributes:
        key: unique name within its source.
        group: name of the dance or take; splits go by group, never by window.
        family: kind of motion (genre or subject) from which priors are drawn.
        features: (T, 66) float32, axes of the recording.
        heading: (T,) facing angle, radians.
        music: (T, F) float32 or None.
        rhythm: (T, R) float32, zeros without music.
        residual: mean distance of the rigid fit from the recording, metres.
        licence: tag of the source's terms.
        priors: motion that retrieval proposes for the whole clip, each of its length.
    """

    key: str
    group: str
    family: str
    features: NDArray[np.float32]
    heading: NDArray[np.float32]
    music: NDArray[np.float32] | None
    rhythm: NDArray[np.float32]
    residual: float
    licence: str
    captions: tuple[Caption, ...] = field(default=())
    priors: tuple[Track, ...] = field(default=())

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.features)

    def part(self, first: int, last: int) -> "Clip":
        """Frames first..last - 1, with the captions that touch them; priors are of whole clips and stay behind."""
        if (first, last) == (0, self.num_frames):
            return self
        captions = tuple(
            replace(c, start=max(c.start - first, 0), end=min(c.end, last) - first)
            for c in self.captions
            if c.start < last and c.end > first
        )
        return replace(
            self,
            key=f"{self.key}[{first}:{last}]",
            features=self.features[first:last],
            heading=self.heading[first:last],
            music=None if self.music is None else self.music[first:last],
            rhythm=self.rhythm[first:last],
            captions=captions,
            priors=(),
        )


def motion_features(positions: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features (T, 66) and unwrapped heading (T,) of canonical positions."""
    features, _ = encode(positions)
    return features.astype(np.float32), np.unwrap(heading(positions)).astype(np.float32)
