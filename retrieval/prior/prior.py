"""From retrieved phrases to a motion prior: one continuous motion of the wanted length, on the wanted beats.

At every moment it is one phrase that plays, never a mean of several. All interpolation is of rotations, so bones keep
their lengths and swings their amplitude. A joint with one child counts by the direction of its bone: its twist does
not show in positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from choreo.errors import InvalidInput
from choreo.motion.clip import MAX_FRAMES
from choreo.motion.representation import CHANNELS, encode
from choreo.motion.skeleton import FPS
from retrieval.library.library import Hit, PhraseLibrary
from retrieval.prior.chaining import Segment, chain
from retrieval.prior.seams import Recording, join
from retrieval.prior.transitions import poses

PRIOR_PHRASES = 3
"""Phrases that a prior is chained from."""


@dataclass(frozen=True)
class BuiltPrior:
    """A motion prior that begins at the origin and faces +z.

    Attributes:
        features: float32 (num_frames, 66) as `choreo.motion.representation.encode` makes them, not normalised.
        mask: float32 (num_frames,), 1 where there is motion.
        phrases: what was used: `id`, `score`, `weight` (share of the frames) and `source` of each.
        seams: frames at which a phrase takes over from the one before.
    """

    features: NDArray[np.float32]
    mask: NDArray[np.float32]
    phrases: list[dict[str, Any]]
    seams: tuple[int, ...] = ()


def build_prior(
    library: PhraseLibrary, hits: Sequence[Hit], num_frames: int, beats: ArrayLike = (), fps: float = FPS
) -> BuiltPrior:
    """Chain the hits into num_frames of motion, the best one first and most.

    Args:
        library: where the hits were found.
        hits: phrases to use; give one for a prior from the best alone. None: an empty prior, its mask all 0.
        num_frames: length of the prior.
        beats: of the song, seconds from the first frame; phrase beats are moved onto them.
        fps: frame rate of the prior.
    Raises:
        InvalidInput: a length or frame rate that makes no sense.
    """
    if not 1 <= num_frames <= MAX_FRAMES:
        raise InvalidInput("num_frames", f"must be between 1 and {MAX_FRAMES}, got {num_frames}")
    if not (np.isfinite(fps) and 1 <= fps <= 1000):
        raise InvalidInput("fps", f"must be between 1 and 1000, got {fps}")
    if not hits:
        return BuiltPrior(np.zeros((num_frames, CHANNELS), np.float32), np.zeros(num_frames, np.float32), [])
    motions = [library.motion(hit.phrase) for hit in hits]
    segments = chain([hit.phrase for hit in hits], [poses(motion) for motion in motions], num_frames, beats, fps)
    used = sorted({segment.choice for segment in segments})
    positions = join(segments, {choice: Recording.of(motions[choice]) for choice in used}, fps)
    features, _ = encode(positions, fps)
    return BuiltPrior(
        features.astype(np.float32),
        np.ones(num_frames, np.float32),
        _used(hits, segments, num_frames),
        tuple(segment.first for segment in segments[1:]),
    )


def _used(hits: Sequence[Hit], segments: Sequence[Segment], num_frames: int) -> list[dict[str, Any]]:
    frames: dict[str, int] = {}
    by_id = {hit.phrase.id: hit for hit in reversed(hits)}
    for segment in segments:
        name = hits[segment.choice].phrase.id
        frames[name] = frames.get(name, 0) + len(segment.times)
    return [
        {
            "id": name,
            "score": round(by_id[name].score, 4),
            "weight": round(count / num_frames, 4),
            "source": by_id[name].phrase.source,
        }
        for name, count in frames.items()
    ]
