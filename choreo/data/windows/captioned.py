"""Motion windows with one sentence each, for contrastive training and for retrieval scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from choreo.data.clip import Clip, representation_of
from choreo.data.windows.captions import ATTRIBUTES, attributes, mirrored
from choreo.data.windows.windows import ClipSampler, Window, caption_key, pad
from choreo.errors import InvalidInput
from choreo.motion.kinematics import heading
from choreo.motion.representation import ROOT_VELOCITY_66, Representation
from choreo.motion.resample import resample
from choreo.motion.skeleton import FPS, WINDOW
from choreo.text.encoders import TextEncoder

MIN_FRAMES: Final = 30
"""Shorter windows are left out."""
MAX_ATTRIBUTES: Final = 2
"""Attribute phrases in one sentence."""
MIN_STD: Final = 0.05
"""Smallest standard deviation that features are divided by."""


@dataclass(frozen=True)
class PairOptions:
    """How training pairs are varied."""

    mirror: float = 0.5
    """Probability that motion and sentence are mirrored."""
    speed: float = 0.15
    """Motion is played at 1 - speed to 1 + speed of its rate."""
    attribute: float = 0.6
    """Probability that a true attribute is stated."""
    crop: float = 0.3
    """Probability that a window is shorter than it could be."""


class Sentences:
    """Embeddings of every sentence that can be asked for, and which captions mean nearly the same.

    Attributes:
        captions: the clips' captions, as they are and mirrored.
        index: caption to its row.
        embeddings: sentence to its embedding (E,).
        alike: bool (N, N), whether two captions are more similar than the threshold.
    """

    def __init__(self, clips: Sequence[Clip], encoder: TextEncoder, similarity: float) -> None:
        """`similarity` is the threshold: a cosine of embeddings."""
        bases = {c.text for clip in clips for c in clip.captions}
        self.captions = sorted(bases | {mirrored(text) for text in bases})
        self.index = {text: i for i, text in enumerate(self.captions)}
        stated = [", ".join(some) for n in range(MAX_ATTRIBUTES + 1) for some in combinations(ATTRIBUTES, n)]
        keys = [caption_key(text, some) for text in self.captions for some in stated]
        self.embeddings = dict(zip(keys, encoder.encode(keys), strict=True))
        vectors = np.array([self.embeddings[text] for text in self.captions])
        self.alike = vectors @ vectors.T > similarity


class CaptionedWindows(Dataset[Window]):
    """`length` random pairs, each a function of (seed, index) alone; clips are drawn by `ClipSampler`.

    A window lies within the span of its caption. With features and sentence it carries what says which other sentences
    are true of it: these are not used as negatives (`choreo.training.contrastive`).
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        sentences: Sentences,
        length: int,
        seed: int = 0,
        options: PairOptions | None = None,
        window: int = WINDOW,
    ) -> None:
        """Pairs of windows of up to `window` frames; clips that are short or have no caption are left out."""
        self.clips = [c for c in clips if c.captions and c.num_frames >= MIN_FRAMES]
        self.representation = representation_of(self.clips)
        self.sentences, self.length, self.seed, self.window = sentences, length, seed, window
        self.options = options or PairOptions()
        self._sampler = ClipSampler(self.clips)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Window:
        """One pair.

        `features` (window, C), `mask` (window,), `text` (E,), `caption` (1,) its row in `Sentences`, `true_captions`
        (N,) and `true_attributes` (A,) of the motion, `stated` (A,) attributes of the sentence.
        """
        rng = np.random.default_rng((self.seed, index))
        clip = self.clips[self._sampler.draw(rng)]
        caption = clip.captions[int(rng.integers(len(clip.captions)))]
        positions = self._positions(clip, caption.start, caption.end, rng)
        features = motion_input(positions, self.representation)
        true = attributes(features, np.unwrap(heading(positions)), self.representation)
        stated = [a for a in true if rng.random() < self.options.attribute]
        stated = sorted(rng.permutation(stated)[:MAX_ATTRIBUTES], key=ATTRIBUTES.index)
        text, others = caption.text, [c.text for c in clip.captions]
        if rng.random() < self.options.mirror:
            features, text = self.representation.mirror(features), mirrored(text)
            others = [mirrored(t) for t in others]
        rows = [self.sentences.index[t] for t in others]
        padded, mask = pad(features, self.window)
        return {
            "features": padded,
            "mask": mask,
            "text": self.sentences.embeddings[caption_key(text, ", ".join(stated))],
            "caption": np.array([self.sentences.index[text]], np.float32),
            "true_captions": self.sentences.alike[rows].any(axis=0).astype(np.float32),
            "true_attributes": _bits(true),
            "stated": _bits(stated),
        }

    def _positions(self, clip: Clip, first: int, last: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """A random stretch of frames first to last - 1 at a random speed; (T, 22, 3), T <= window."""
        last = min(max(last, first + MIN_FRAMES), clip.num_frames)
        first = max(0, min(first, last - MIN_FRAMES))
        speed = 1 + rng.uniform(-self.options.speed, self.options.speed)
        longest = min(self.window, int((last - first) / speed))
        cropped = rng.random() < self.options.crop
        frames = int(rng.integers(min(2 * MIN_FRAMES, longest), longest + 1)) if cropped else longest
        needed = min(int(frames * speed) + 2, last - first)
        start = first + int(rng.integers(0, last - first - needed + 1))
        positions = self.representation.decode(clip.features[start : start + needed])
        return resample(positions, FPS * speed, FPS)[: self.window]


@dataclass(frozen=True)
class CaptionedMotion:
    """One pair to retrieve: features (T, C) of `motion_input`, and a caption with true attributes."""

    features: NDArray[np.float32]
    caption: str
    attributes: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What the text encoder gets."""
        return caption_key(self.caption, ", ".join(self.attributes))


def captioned_motions(clips: Sequence[Clip], window: int = WINDOW) -> list[CaptionedMotion]:
    """Windows of the clips at steps of half a window, each with one of its captions and its first true attributes."""
    out: list[CaptionedMotion] = []
    for clip in clips:
        for start in range(0, max(clip.num_frames - window, 0) + 1, window // 2):
            end = min(start + window, clip.num_frames)
            over = [c.text for c in clip.captions if min(c.end, end) - max(c.start, start) > 0.5 * (end - start)]
            if not over or end - start < MIN_FRAMES:
                continue
            positions = clip.representation.decode(clip.features[start:end])
            features = motion_input(positions, clip.representation)
            true = attributes(features, np.unwrap(heading(positions)), clip.representation)
            out.append(CaptionedMotion(features, over[len(out) % len(over)], tuple(true[:MAX_ATTRIBUTES])))
    return out


def canonical_statistics(clips: Sequence[Clip], window: int = WINDOW) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation (C,) of the features of `motion_input` over windows of the clips.

    Raises:
        InvalidInput: no window has a caption.
    """
    motions = captioned_motions(clips, window)
    if not motions:
        raise InvalidInput(
            "data", f"has no training clip of {MIN_FRAMES} frames with a caption about at least half of it"
        )
    data = np.concatenate([m.features for m in motions]).astype(np.float64)
    std = np.maximum(data.std(0), MIN_STD)
    return tuple(np.round(data.mean(0), 5).tolist()), tuple(np.round(std, 5).tolist())


def motion_input(
    positions: NDArray[np.floating], representation: Representation = ROOT_VELOCITY_66
) -> NDArray[np.float32]:
    """Positions (T, 22, 3), metres at 30 fps, to features (T, C) with axes in which the first pose faces +z.

    The velocity of the first frame, which a crop does not know, is that of the second.
    """
    features, _ = representation.encode(positions, heading=float(heading(positions[:1])[0]))
    unknown = representation.unknown_in_a_lone_pose
    features[:1, unknown] = features[1:2, unknown] if len(features) > 1 else 0
    return features.astype(np.float32)


def _bits(names: Sequence[str]) -> NDArray[np.float32]:
    return np.array([name in names for name in ATTRIBUTES], np.float32)
