"""Motion windows with one sentence each, for contrastive training and for retrieval scores."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from choreo.data.clip import Clip
from choreo.data.windows.captions import ATTRIBUTES, attributes, mirrored
from choreo.data.windows.windows import caption_key, mirror
from choreo.motion.kinematics import heading
from choreo.motion.representation import CHANNELS, ROOT_VELOCITY, decode, encode
from choreo.motion.resample import resample
from choreo.motion.skeleton import FPS, WINDOW
from choreo.text.encoders import TextEncoder

MIN_FRAMES = 30
MAX_ATTRIBUTES = 2
"""Most attribute phrases in one sentence."""
Pair = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class PairOptions:
    """How training pairs are varied."""

    mirror: float = 0.5
    speed: float = 0.15
    """Motion is played at 1 - speed to 1 + speed of its rate."""
    attribute: float = 0.6
    """Probability that a true attribute is stated."""
    crop: float = 0.3
    """Probability that a window is shorter than it could be."""


class Sentences:
    """Embeddings of every sentence that can be asked for, and which captions say much the same.

    Attributes:
        captions: captions as they are and mirrored.
        alike: bool (N, N), whether two captions are more alike than `similarity` (cosine of their embeddings).
    """

    def __init__(self, clips: Sequence[Clip], encoder: TextEncoder, similarity: float) -> None:
        bases = {c.text for clip in clips for c in clip.captions}
        self.captions = sorted(bases | {mirrored(text) for text in bases})
        self.index = {text: i for i, text in enumerate(self.captions)}
        stated = [", ".join(some) for n in range(MAX_ATTRIBUTES + 1) for some in combinations(ATTRIBUTES, n)]
        keys = [caption_key(text, some) for text in self.captions for some in stated]
        self.embeddings = dict(zip(keys, encoder.encode(keys), strict=True))
        vectors = np.array([self.embeddings[text] for text in self.captions])
        self.alike = vectors @ vectors.T > similarity


class CaptionedWindows(Dataset[Pair]):
    """`length` random pairs, each a function of (seed, index) alone.

    Clips are drawn with probability proportional to their length over the square root of their family's share. A
    window lies in the span of its caption and carries, beside features and sentence, what says which other sentences
    are true of it: they are no negatives (`choreo.training.contrastive`).
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        sentences: Sentences,
        length: int,
        seed: int = 0,
        options: PairOptions | None = None,
    ) -> None:
        self.clips = [c for c in clips if c.captions and c.num_frames >= MIN_FRAMES]
        self.sentences, self.length, self.seed = sentences, length, seed
        self.options = options or PairOptions()
        share: dict[str, float] = defaultdict(float)
        for clip in self.clips:
            share[clip.family] += clip.num_frames
        weights = np.array([c.num_frames / np.sqrt(share[c.family]) for c in self.clips])
        self.cumulative = np.cumsum(weights / weights.sum())

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Pair:
        """`features` (T, 66), `mask` (T,), `text` (E,), `caption` (1,) its row in `Sentences`, `true_captions` (N,)
        and `true_attributes` (A,) of the motion, `stated` (A,) of the sentence."""
        rng = np.random.default_rng((self.seed, index))
        clip = self.clips[min(int(np.searchsorted(self.cumulative, rng.random())), len(self.clips) - 1)]
        caption = clip.captions[int(rng.integers(len(clip.captions)))]
        positions = self._positions(clip, caption.start, caption.end, rng)
        features = motion_input(positions)
        true = attributes(features, np.unwrap(heading(positions)))
        stated = [a for a in true if rng.random() < self.options.attribute]
        stated = sorted(rng.permutation(stated)[:MAX_ATTRIBUTES], key=ATTRIBUTES.index)
        text, others = caption.text, [c.text for c in clip.captions]
        if rng.random() < self.options.mirror:
            features, text, others = mirror(features), mirrored(text), [mirrored(t) for t in others]
        rows = [self.sentences.index[t] for t in others]
        padded, mask = pad(features)
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
        """A random stretch of frames [first, last), played a little faster or slower; (T, 22, 3), T <= window."""
        last = min(max(last, first + MIN_FRAMES), clip.num_frames)
        first = max(0, min(first, last - MIN_FRAMES))
        speed = 1 + rng.uniform(-self.options.speed, self.options.speed)
        longest = min(WINDOW, int((last - first) / speed))
        cropped = rng.random() < self.options.crop
        frames = int(rng.integers(min(2 * MIN_FRAMES, longest), longest + 1)) if cropped else longest
        needed = min(int(frames * speed) + 2, last - first)
        start = first + int(rng.integers(0, last - first - needed + 1))
        return resample(decode(clip.features[start : start + needed]), FPS * speed, FPS)[:WINDOW]


@dataclass(frozen=True)
class CaptionedMotion:
    """One pair to retrieve: features (T, 66) of `motion_input`, and a sentence with its caption and attributes."""

    features: NDArray[np.float32]
    caption: str
    attributes: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What the text encoder is given."""
        return caption_key(self.caption, ", ".join(self.attributes))


def captioned_motions(clips: Sequence[Clip], hop: int = WINDOW // 2) -> list[CaptionedMotion]:
    """Every window of the clips at steps of `hop` frames, with one of its captions and its first true attributes."""
    out: list[CaptionedMotion] = []
    for clip in clips:
        for start in range(0, max(clip.num_frames - WINDOW, 0) + 1, hop):
            end = min(start + WINDOW, clip.num_frames)
            over = [c.text for c in clip.captions if min(c.end, end) - max(c.start, start) > 0.5 * (end - start)]
            if not over or end - start < MIN_FRAMES:
                continue
            positions = decode(clip.features[start:end])
            features = motion_input(positions)
            true = attributes(features, np.unwrap(heading(positions)))
            out.append(CaptionedMotion(features, over[len(out) % len(over)], tuple(true[:MAX_ATTRIBUTES])))
    return out


def canonical_statistics(clips: Sequence[Clip]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation (66,) of the features of `motion_input` over windows of the clips."""
    data = np.concatenate([m.features for m in captioned_motions(clips)]).astype(np.float64)
    std = np.maximum(data.std(0), 0.05)
    return tuple(np.round(data.mean(0), 5).tolist()), tuple(np.round(std, 5).tolist())


def motion_input(positions: NDArray[np.floating]) -> NDArray[np.float32]:
    """Positions (T, 22, 3), metres at 30 fps, to features (T, 66) in the frame that faces +z at the first pose.

    The velocity of the first frame, which a cut-out motion does not know, is that of the second.
    """
    features, _ = encode(positions, heading=float(heading(positions[:1])[0]))
    features[:1, ROOT_VELOCITY] = features[1:2, ROOT_VELOCITY] if len(features) > 1 else 0
    return features.astype(np.float32)


def pad(features: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features (T, 66) in a window of zeros (196, 66), and the mask (196,) of the frames that exist."""
    out, mask = np.zeros((WINDOW, CHANNELS), np.float32), np.zeros(WINDOW, np.float32)
    out[: len(features)], mask[: len(features)] = features, 1
    return out, mask


def _bits(names: Sequence[str]) -> NDArray[np.float32]:
    return np.array([name in names for name in ATTRIBUTES], np.float32)
