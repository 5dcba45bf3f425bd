"""What an analysis keeps of a clip when its motion has been let go."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from choreo.data.analysis.joint_speeds import speeds
from choreo.data.analysis.motion_words import is_dance, motions_in, other_words
from choreo.data.clip import Clip
from choreo.motion.skeleton import FPS


@dataclass(frozen=True, eq=False)
class ClipFacts:
    """Of one clip.

    Attributes:
        key, group, family, licence: of the clip.
        frames: at 30 fps.
        music: frames that have music.
        captions: motions that each caption names.
        words: words of all captions that name no known motion.
        fastest: (frames,) float32, speed of each frame's fastest joint, m/s.
        dance: whether captions or the family's name mention a dance.
    """

    key: str
    group: str
    family: str
    licence: str
    frames: int
    music: int
    captions: tuple[frozenset[str], ...]
    words: frozenset[str]
    fastest: NDArray[np.float32]
    dance: bool

    @property
    def minutes(self) -> float:
        """Length."""
        return self.frames / FPS / 60

    def too_fast(self, limit: float, length: int) -> int:
        """Frames of the clip's sequences of `length` frames, the shorter rest included, with a frame above `limit`."""
        first = range(0, self.frames, length)
        return sum(len(part) for at in first if (part := self.fastest[at : at + length]).max() > limit)

    def fast_runs(self, limit: float) -> NDArray[np.int_]:
        """Lengths, in frames, of the unbroken runs of frames above `limit`."""
        above = np.concatenate([[False], self.fastest > limit, [False]])
        edges = np.flatnonzero(above[1:] != above[:-1])
        return edges[1::2] - edges[::2]

    @property
    def motions(self) -> frozenset[str]:
        """Motions that any caption names."""
        return frozenset().union(*self.captions)


def facts_of(clip: Clip) -> tuple[ClipFacts, NDArray[np.float64]]:
    """Facts of a clip, and the speeds (T - 1, 22) of its joints, m/s."""
    values = speeds(clip.positions())
    captions = tuple(motions_in(caption.text) for caption in clip.captions)
    motions = frozenset().union(*captions, motions_in(clip.family))
    facts = ClipFacts(
        key=clip.key,
        group=clip.group,
        family=" ".join(clip.family.split()),
        licence=clip.licence,
        frames=clip.num_frames,
        music=0 if clip.music is None else clip.num_frames,
        captions=captions,
        words=frozenset().union(*(other_words(caption.text) for caption in clip.captions)),
        fastest=np.concatenate([values[:1], values]).max(1).astype(np.float32),
        dance=is_dance(motions),
    )
    return facts, values
