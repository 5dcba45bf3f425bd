"""Building a motion prior: the retrieved phrases as one continuous motion of a given length on given beats.

One phrase plays at a time; positions of several are never averaged. All interpolation is of rotations, so bones keep
their lengths and swings their amplitude. A joint with one child is represented by the direction of its bone, because
its twist does not affect positions.
"""

from collections import Counter
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
from retrieval.prior.chaining import chain
from retrieval.prior.seams import PhraseMotion, join
from retrieval.prior.transitions import pose_vectors

PRIOR_PHRASES = 3
"""Number of phrases that a prior is chained from."""


@dataclass(frozen=True)
class BuiltPrior:
    """A motion prior that starts at the origin and faces +z.

    Attributes:
        features: float32 (num_frames, 66), as from `choreo.motion.representation.encode`, not normalised.
        mask: float32 (num_frames,), 1 for frames with motion.
        phrases: `id` and `weight` (share of the frames) of each phrase used.
        seams: frames at which one phrase takes over from another.
    """

    features: NDArray[np.float32]
    mask: NDArray[np.float32]
    phrases: list[dict[str, Any]]
    seams: tuple[int, ...] = ()


def build_prior(
    library: PhraseLibrary, hits: Sequence[Hit], num_frames: int, beats: ArrayLike = (), fps: float = FPS
) -> BuiltPrior:
    """Chain the hits into a motion, the best one first and most.

    Args:
        library: where the hits were found.
        hits: phrases to use, best first. None: an empty prior with a mask of zeros.
        num_frames: length of the prior.
        beats: of the song, seconds from the first frame; phrase beats are moved onto them.
        fps: frame rate of the prior.
    Raises:
        InvalidInput: a length or frame rate out of range.
    """
    if not 1 <= num_frames <= MAX_FRAMES:
        raise InvalidInput("num_frames", f"must be between 1 and {MAX_FRAMES}, got {num_frames}")
    if not (np.isfinite(fps) and 1 <= fps <= 1000):
        raise InvalidInput("fps", f"must be between 1 and 1000, got {fps}")
    if not hits:
        return BuiltPrior(np.zeros((num_frames, CHANNELS), np.float32), np.zeros(num_frames, np.float32), [])
    motions = [library.motion(hit.phrase) for hit in hits]
    poses = [pose_vectors(motion) for motion in motions]
    segments = chain([hit.phrase for hit in hits], poses, num_frames, beats, fps)
    used = sorted({segment.choice for segment in segments})
    positions = join(segments, {choice: PhraseMotion.of(motions[choice]) for choice in used}, fps)
    features, _ = encode(positions, fps)
    frames: Counter[str] = Counter()
    for segment in segments:
        frames[hits[segment.choice].phrase.id] += len(segment.times)
    return BuiltPrior(
        features.astype(np.float32),
        np.ones(num_frames, np.float32),
        [{"id": name, "weight": round(count / num_frames, 4)} for name, count in frames.items()],
        tuple(segment.first for segment in segments[1:]),
    )
