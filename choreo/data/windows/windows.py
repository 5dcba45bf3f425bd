"""Training windows, each a function of (seed, index): a resumed run sees the same data."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from choreo.data.clip import Clip, Track, representation_of
from choreo.data.windows import known_masks
from choreo.data.windows.captions import ATTRIBUTES, attributes, mirrored
from choreo.data.windows.known_masks import Masks
from choreo.motion.skeleton import WINDOW
from choreo.music.beats import BAR, RHYTHM_CHANNELS
from choreo.music.features import DSP_DIM
from choreo.text.encoders import TextEncoder

Window = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class WindowOptions:
    """How windows are cut, and the probabilities with which inputs are hidden from the network."""

    mirror: float = 0.5
    music_gain: float = 0.25
    """Standard deviation of per-channel music jitter, in units of that channel's standard deviation."""
    prior: float = 0.4
    prior_from_self: float = 0.25
    """Share of priors that are the window itself, shifted in time; half of the others are retrieved where possible."""
    known: float = 0.25
    """Share of the windows of which something is given; `masks: random` has its own, but gives nothing where this is 0.
    """
    masks: Masks = "starts"
    """What is given of the motion itself, see `choreo.data.windows.known_masks`."""
    drop_music: float = 0.15
    drop_text: float = 0.15
    drop_all: float = 0.1
    drop_bars: float = 0.2
    """Share of windows whose bars are hidden: songs without known bars are danced to as well."""
    min_frames: int = 45


class ClipSampler:
    """Draws clips with probability proportional to length / sqrt(total length of the family).

    A small family is thus seen more often than its length alone would have it.
    """

    def __init__(self, clips: Sequence[Clip]) -> None:
        family_frames: dict[str, int] = defaultdict(int)
        for clip in clips:
            family_frames[clip.family] += clip.num_frames
        weights = np.array([c.num_frames / np.sqrt(family_frames[c.family]) for c in clips])
        self._cumulative = np.cumsum(weights / weights.sum())

    def draw(self, rng: np.random.Generator) -> int:
        """Index of a clip."""
        return min(int(np.searchsorted(self._cumulative, rng.random())), len(self._cumulative) - 1)


class Windows(Dataset[Window]):
    """`length` random windows of clips, each a function of (seed, index) alone."""

    def __init__(
        self,
        clips: Sequence[Clip],
        texts: Mapping[str, NDArray[np.float32]],
        length: int,
        seed: int = 0,
        options: WindowOptions | None = None,
        music_dim: int = DSP_DIM,
        window: int = WINDOW,
        rhythm_channels: int = RHYTHM_CHANNELS,
    ) -> None:
        """Windows of `window` frames.

        Args:
            clips: those shorter than `options.min_frames` are left out.
            texts: embeddings (E,) of sentences, as `caption_table` makes them.
            length: number of windows.
            seed: another one gives other windows.
            options: augmentation and dropout.
            music_dim: width of the music features where no clip has any.
            window: frames.
            rhythm_channels: of the clips' rhythm, those that the windows have, from the first one on.

        Raises:
            InvalidInput: the clips are in different representations.
        """
        self.options = options or WindowOptions()
        self.clips = [c for c in clips if c.num_frames >= self.options.min_frames]
        self.representation = representation_of(self.clips)
        self.texts, self.length, self.seed, self.window = texts, length, seed, window
        self.rhythm_channels = rhythm_channels
        self.families: dict[str, list[int]] = defaultdict(list)
        for i, clip in enumerate(self.clips):
            self.families[clip.family].append(i)
        self._sampler = ClipSampler(self.clips)
        music = [c.music for c in self.clips if c.music is not None]
        self.music_std = np.concatenate(music).std(0) if music else np.ones(music_dim, np.float32)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Window:
        """Arrays of one window, shapes as in `ModelSpec` (features not yet normalised)."""
        rng = np.random.default_rng((self.seed, index))
        i = self._sampler.draw(rng)
        clip = self.clips[i]
        start = int(rng.integers(0, max(clip.num_frames - self.window, 0) + 1))
        end = min(start + self.window, clip.num_frames)
        angle = rng.uniform(-np.pi, np.pi)
        flip = bool(rng.random() < self.options.mirror)
        features = self._turned(clip, slice(start, end), angle, flip)
        x0, mask = pad(features, self.window)
        out = {
            "x0": x0,
            "frame_mask": mask,
            **self._music(clip, start, end, rng),
            **self._text(clip, start, end, flip, rng),
            "prior": self._prior(i, start, end, angle, flip, rng),
            **self._known(x0, len(features), rng),
        }
        if rng.random() < self.options.drop_all:
            for name in ("has_music", "has_text", "prior", "rhythm"):
                out[name] = np.zeros_like(out[name])
        if rng.random() < self.options.drop_bars:
            out["rhythm"][:, BAR] = 0
        return out

    def _music(self, clip: Clip, start: int, end: int, rng: np.random.Generator) -> Window:
        heard = clip.music is not None and rng.random() >= self.options.drop_music
        if not heard or clip.music is None:
            return {
                "music": np.zeros((self.window, len(self.music_std)), np.float32),
                "music_mask": np.ones(self.window, np.float32),
                "has_music": np.zeros(1, np.float32),
                "rhythm": np.zeros((self.window, self.rhythm_channels), np.float32),
            }
        gain = rng.normal(0, self.options.music_gain, self.music_std.shape) * self.music_std
        music, mask = pad(clip.music[start:end] + gain, self.window)
        rhythm, _ = pad(clip.rhythm[start:end, : self.rhythm_channels], self.window)
        return {"music": music, "music_mask": mask, "has_music": np.ones(1, np.float32), "rhythm": rhythm}

    def _text(self, clip: Clip, start: int, end: int, flip: bool, rng: np.random.Generator) -> Window:
        overlap = [c.text for c in clip.captions if min(c.end, end) - max(c.start, start) > 0.5 * (c.end - c.start)]
        candidates = overlap or [c.text for c in clip.captions if c.start <= start and c.end >= end]
        dim = len(next(iter(self.texts.values())))
        if not candidates or rng.random() < self.options.drop_text:
            return {"text": np.zeros(dim, np.float32), "has_text": np.zeros(1, np.float32)}
        text = candidates[int(rng.integers(len(candidates)))]
        true = attributes(clip.features[start:end], clip.heading[start:end], self.representation)
        suffix = true[int(rng.integers(len(true)))] if true and rng.random() < 0.6 else ""
        key = caption_key(mirrored(text) if flip else text, suffix)
        return {"text": self.texts[key], "has_text": np.ones(1, np.float32)}

    def _prior(
        self, i: int, start: int, end: int, angle: float, flip: bool, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Retrieved motion, another stretch of the family, or this one shifted; (window, C + 1), the last its mask."""
        out = np.zeros((self.window, self.representation.channels + 1), np.float32)
        if rng.random() >= self.options.prior:
            return out
        clip = self.clips[i]
        track, first = self._prior_track(clip, start, rng)
        last = min(first + (end - start), len(track.features))
        sign = -1.0 if flip else 1.0
        turn = angle + sign * float(clip.heading[start] - track.heading[first])
        prior = self._turned(track, slice(first, last), turn, flip)
        out[: len(prior), :-1] = prior
        out[: len(prior), -1] = 1
        hidden = int(rng.integers(0, self.window // 2)) if rng.random() < 0.3 else 0
        out[self.window - hidden :] = 0
        return out

    def _prior_track(self, clip: Clip, start: int, rng: np.random.Generator) -> tuple[Clip | Track, int]:
        """Motion to use as prior of the window at `start`, and its first frame."""
        if rng.random() < self.options.prior_from_self:
            return clip, int(np.clip(start + rng.integers(-6, 7), 0, max(clip.num_frames - self.window, 0)))
        if clip.priors and rng.random() < 0.5:
            return clip.priors[int(rng.integers(len(clip.priors)))], start
        members = self.families[clip.family]
        other = self.clips[members[int(rng.integers(len(members)))]]
        return other, int(rng.integers(0, max(other.num_frames - self.window, 0) + 1))

    def _known(self, x0: NDArray[np.float32], frames: int, rng: np.random.Generator) -> Window:
        """What of x0 (window, C) is given to the network, and its mask (window, C)."""
        if self.options.masks == "random" and self.options.known:
            mask = known_masks.random(rng, frames, len(x0), self.representation)
        else:
            mask = known_masks.starts(rng, frames, len(x0), self.representation, self.options.known)
        return {"known": x0 * mask, "known_mask": mask}

    def _turned(self, motion: Clip | Track, frames: slice, angle: float, flip: bool) -> NDArray[np.float32]:
        features = motion.features[frames]
        if flip:
            features = self.representation.mirror(features)
        return self.representation.rotate(features, angle).astype(np.float32)


def pad(values: NDArray[np.floating], window: int = WINDOW) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rows (T, N) followed by zeros (window, N), and the mask (window,) of the rows that exist."""
    out, mask = np.zeros((window, values.shape[1]), np.float32), np.zeros(window, np.float32)
    out[: len(values)], mask[: len(values)] = values, 1
    return out, mask


def caption_key(text: str, attribute: str = "") -> str:
    """The sentence that the text encoder gets for a caption and an attribute phrase."""
    return f"{text}, {attribute}" if attribute else text


def caption_table(clips: Sequence[Clip], encoder: TextEncoder) -> dict[str, NDArray[np.float32]]:
    """Embeddings (E,) of every sentence that `Windows` can ask for."""
    bases = {c.text for clip in clips for c in clip.captions}
    bases |= {mirrored(text) for text in bases}
    keys = sorted(caption_key(text, a) for text in bases for a in ("", *ATTRIBUTES))
    return dict(zip(keys, encoder.encode(keys), strict=True))


def feature_statistics(clips: Sequence[Clip]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (C,) of the clips' features under random yaw (`Representation.statistics`)."""
    return representation_of(clips).statistics(np.concatenate([c.features for c in clips]))


def collate(windows: Sequence[Window]) -> dict[str, torch.Tensor]:
    """Stack windows into float32 tensors."""
    return {k: torch.from_numpy(np.stack([w[k] for w in windows]).astype(np.float32)) for k in windows[0]}
