"""One training clip: motion features with whatever music, captions and provenance came with them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.motion.kinematics import heading
from choreo.motion.representation import ROOT_VELOCITY_66, Representation, converted


@dataclass(frozen=True)
class Caption:
    """A sentence about frames start to end - 1 of a clip; an empty `licence` is that of the clip."""

    text: str
    start: int
    end: int
    licence: str = ""


@dataclass(frozen=True)
class Track:
    """Motion that accompanies a clip frame by frame: features (T, C) and unwrapped heading (T,), float32."""

    features: NDArray[np.float32]
    heading: NDArray[np.float32]


@dataclass(frozen=True)
class Clip:
    """Motion features with their conditioning, all at 30 fps.

    Attributes:
        key: unique name within its source.
        group: name of the dance or take; data sets are split by group, never by window.
        family: kind of motion (genre or subject) from which priors are drawn.
        features: (T, C) float32, axes of the recording.
        heading: (T,) facing angle, radians.
        music: (T, F) float32 or None.
        rhythm: (T, R) float32, zeros without music.
        residual: mean distance of the rigid fit from the recording, metres.
        licence: tag of the source's terms.
        captions: sentences about the clip or parts of it.
        priors: motion that retrieval proposes for the whole clip, each of its length.
        representation: of the features.
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
    representation: Representation = ROOT_VELOCITY_66

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.features)

    def positions(self) -> NDArray[np.float64]:
        """Joint positions (T, 22, 3), metres; the root starts at x = z = 0."""
        return self.representation.decode(self.features)

    def part(self, first: int, last: int) -> "Clip":
        """Frames first to last - 1, with the captions that touch them; priors are of whole clips and are dropped."""
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


def motion_features(
    positions: NDArray[np.floating], representation: Representation = ROOT_VELOCITY_66
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features (T, C) and unwrapped heading (T,) of positions (T, 22, 3) on the canonical skeleton at 30 fps."""
    features, _ = representation.encode(positions)
    return features.astype(np.float32), np.unwrap(heading(positions)).astype(np.float32)


def in_representation(clip: Clip, target: Representation) -> Clip:
    """The clip, and the priors of it, with features in another representation."""
    source = clip.representation
    if source is target:
        return clip

    def of(features: NDArray[np.float32]) -> NDArray[np.float32]:
        return converted(features, source, target).astype(np.float32)

    priors = tuple(replace(track, features=of(track.features)) for track in clip.priors)
    return replace(clip, features=of(clip.features), priors=priors, representation=target)


def representation_of(clips: Sequence[Clip]) -> Representation:
    """The representation that clips share; the default one where there are no clips.

    Raises:
        InvalidInput: they differ.
    """
    found = {clip.representation.name: clip.representation for clip in clips}
    if len(found) > 1:
        raise InvalidInput("data", f"mixes the representations {', '.join(found)}; encode all clips in one")
    return next(iter(found.values()), ROOT_VELOCITY_66)
