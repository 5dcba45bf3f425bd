"""Training windows: addressed by (seed, index), so any batch can be made again and a resumed run sees the same data."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from choreo.data.clip import Clip, Track
from choreo.data.windows.captions import ATTRIBUTES, attributes, mirrored
from choreo.motion.representation import CHANNELS, rotate
from choreo.motion.skeleton import MIRROR, WINDOW
from choreo.music.features import DSP_DIM
from choreo.text.encoders import TextEncoder

Window = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class WindowOptions:
    """How windows are cut and what is hidden from the network (probabilities)."""

    mirror: float = 0.5
    music_gain: float = 0.25
    """Standard deviation of per-channel music jitter, in units of that channel's standard deviation."""
    prior: float = 0.4
    prior_from_self: float = 0.25
    """Share of priors that are the window itself, shifted in time; of the others, half are retrieved where any are."""
    known: float = 0.25
    drop_music: float = 0.15
    drop_text: float = 0.15
    drop_all: float = 0.1
    min_frames: int = 45


class Windows(Dataset[Window]):
    """`length` random windows of clips, each a function of (seed, index) alone.

    Clips are drawn with probability proportional to the square root of their family's share times their length, so
    that a small family is seen more often than its minutes alone would have it.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        texts: Mapping[str, NDArray[np.float32]],
        length: int,
        seed: int = 0,
        options: WindowOptions | None = None,
        music_dim: int = DSP_DIM,
    ) -> None:
        self.options = options or WindowOptions()
        self.clips = [c for c in clips if c.num_frames >= self.options.min_frames]
        self.texts, self.length, self.seed = texts, length, seed
        self.families: dict[str, list[int]] = defaultdict(list)
        for i, clip in enumerate(self.clips):
            self.families[clip.family].append(i)
        frames = np.array([c.num_frames for c in self.clips], np.float64)
        share = {f: frames[members].sum() for f, members in self.families.items()}
        weights = frames / np.sqrt([share[c.family] for c in self.clips])
        self.cumulative = np.cumsum(weights / weights.sum())
        music = [c.music for c in self.clips if c.music is not None]
        self.music_std = np.concatenate(music).std(0) if music else np.ones(music_dim, np.float32)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Window:
        """Arrays of one window, shapes as in `ModelSpec` (features not yet normalised)."""
        rng = np.random.default_rng((self.seed, index))
        i = min(int(np.searchsorted(self.cumulative, rng.random())), len(self.clips) - 1)
        clip = self.clips[i]
        start = int(rng.integers(0, max(clip.num_frames - WINDOW, 0) + 1))
        end = min(start + WINDOW, clip.num_frames)
        angle = rng.uniform(-np.pi, np.pi)
        flip = bool(rng.random() < self.options.mirror)
        features = _turned(clip, slice(start, end), angle, flip)
        mask = np.zeros(WINDOW, np.float32)
        mask[: end - start] = 1
        out = {
            "x0": _padded(features),
            "frame_mask": mask,
            **self._music(clip, start, end, rng),
            **self._text(clip, start, end, flip, rng),
            "prior": self._prior(i, start, end, angle, flip, rng),
            **self._known(features, rng),
        }
        if rng.random() < self.options.drop_all:
            for name in ("has_music", "has_text", "prior", "rhythm"):
                out[name] = np.zeros_like(out[name])
        return out

    def _music(self, clip: Clip, start: int, end: int, rng: np.random.Generator) -> Window:
        heard = clip.music is not None and rng.random() >= self.options.drop_music
        if not heard or clip.music is None:
            width = len(self.music_std)
            return {
                "music": np.zeros((WINDOW, width), np.float32),
                "music_mask": np.ones(WINDOW, np.float32),
                "has_music": np.zeros(1, np.float32),
                "rhythm": np.zeros((WINDOW, clip.rhythm.shape[1]), np.float32),
            }
        gain = rng.normal(0, self.options.music_gain, self.music_std.shape) * self.music_std
        mask = np.zeros(WINDOW, np.float32)
        mask[: end - start] = 1
        return {
            "music": _padded(clip.music[start:end] + gain),
            "music_mask": mask,
            "has_music": np.ones(1, np.float32),
            "rhythm": _padded(clip.rhythm[start:end]),
        }

    def _text(self, clip: Clip, start: int, end: int, flip: bool, rng: np.random.Generator) -> Window:
        overlap = [c.text for c in clip.captions if min(c.end, end) - max(c.start, start) > 0.5 * (c.end - c.start)]
        candidates = overlap or [c.text for c in clip.captions if c.start <= start and c.end >= end]
        dim = len(next(iter(self.texts.values())))
        if not candidates or rng.random() < self.options.drop_text:
            return {"text": np.zeros(dim, np.float32), "has_text": np.zeros(1, np.float32)}
        text = candidates[int(rng.integers(len(candidates)))]
        true = attributes(clip.features[start:end], clip.heading[start:end])
        suffix = true[int(rng.integers(len(true)))] if true and rng.random() < 0.6 else ""
        key = caption_key(mirrored(text) if flip else text, suffix)
        return {"text": self.texts[key], "has_text": np.ones(1, np.float32)}

    def _prior(
        self, i: int, start: int, end: int, angle: float, flip: bool, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """What retrieval proposes, another stretch of the family, or this one shifted; (T, C + 1), last its mask."""
        out = np.zeros((WINDOW, CHANNELS + 1), np.float32)
        if rng.random() >= self.options.prior:
            return out
        clip = self.clips[i]
        track, first = self._prior_track(clip, start, rng)
        last = min(first + (end - start), len(track.features))
        sign = -1.0 if flip else 1.0
        turn = angle + sign * float(clip.heading[start] - track.heading[first])
        prior = _turned(track, slice(first, last), turn, flip)
        out[: len(prior), :-1] = prior
        out[: len(prior), -1] = 1
        hidden = int(rng.integers(0, WINDOW // 2)) if rng.random() < 0.3 else 0
        out[WINDOW - hidden :] = 0
        return out

    def _prior_track(self, clip: Clip, start: int, rng: np.random.Generator) -> tuple[Clip | Track, int]:
        """Motion to use as prior of the window at `start`, and its first frame."""
        if rng.random() < self.options.prior_from_self:
            return clip, int(np.clip(start + rng.integers(-6, 7), 0, max(clip.num_frames - WINDOW, 0)))
        if clip.priors and rng.random() < 0.5:
            return clip.priors[int(rng.integers(len(clip.priors)))], start
        members = self.families[clip.family]
        other = self.clips[members[int(rng.integers(len(members)))]]
        return other, int(rng.integers(0, max(other.num_frames - WINDOW, 0) + 1))

    def _known(self, features: NDArray[np.float32], rng: np.random.Generator) -> Window:
        """Known frames: a starting pose or clip, or a few keyframes. A lone pose does not know its velocity."""
        mask = np.zeros((WINDOW, CHANNELS), np.float32)
        if rng.random() < self.options.known:
            kind = rng.random()
            if kind < 0.4:
                mask[0, 2:] = 1
            elif kind < 0.8:
                mask[: int(rng.integers(2, 31))] = 1
            else:
                mask[rng.choice(len(features), min(4, len(features)), replace=False), 2:] = 1
        mask[len(features) :] = 0
        return {"known": _padded(features) * mask, "known_mask": mask}


def caption_key(text: str, attribute: str = "") -> str:
    """The sentence the text encoder sees for a caption and an attribute phrase."""
    return f"{text}, {attribute}" if attribute else text


def caption_table(clips: Sequence[Clip], encoder: TextEncoder) -> dict[str, NDArray[np.float32]]:
    """Embeddings (E,) of every sentence that `Windows` can ask for."""
    bases = {c.text for clip in clips for c in clip.captions}
    bases |= {mirrored(text) for text in bases}
    keys = sorted(caption_key(text, a) for text in bases for a in ("", *ATTRIBUTES))
    return dict(zip(keys, encoder.encode(keys), strict=True))


def feature_statistics(clips: Sequence[Clip]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (C,) of features under a uniformly random yaw: x and z share theirs, x, z mean 0."""
    data = np.concatenate([c.features for c in clips]).astype(np.float64)
    mean, std = data.mean(0), data.std(0)
    horizontal = [(0, 1), *((3 + 3 * j, 5 + 3 * j) for j in range((CHANNELS - 3) // 3))]
    for x, z in horizontal:
        mean[[x, z]] = 0
        std[[x, z]] = np.sqrt((data[:, [x, z]] ** 2).mean())
    return mean, np.maximum(std, 0.03)


def collate(windows: Sequence[Window]) -> dict[str, torch.Tensor]:
    """Stack windows into float32 tensors."""
    return {k: torch.from_numpy(np.stack([w[k] for w in windows]).astype(np.float32)) for k in windows[0]}


def _turned(clip: Clip | Track, frames: slice, angle: float, flip: bool) -> NDArray[np.float32]:
    features = clip.features[frames]
    if flip:
        features = mirror(features)
    return rotate(features, angle).astype(np.float32)


def mirror(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Reflect features (T, 66) in the x = 0 plane and exchange left and right joints."""
    out = np.array(features, np.float32)
    out[:, 0] *= -1
    joints = out[:, 3:].reshape(len(out), 21, 3)[:, [j - 1 for j in MIRROR[1:]]]
    out[:, 3:] = (joints * (-1, 1, 1)).reshape(len(out), -1)
    return out


def _padded(frames: NDArray[np.floating]) -> NDArray[np.float32]:
    out = np.zeros((WINDOW, frames.shape[1]), np.float32)
    out[: len(frames)] = frames
    return out
