"""One request on its way: the encoder where something is given, the denoiser at every step, the decoder once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from choreo.diffusion.guidance import TEXT_ONLY
from choreo.diffusion.trajectory import Plan, ReverseProcess
from choreo.diffusion.windows import window_starts
from choreo.generators.base import Array, Conditioning, GenerationRequest, Tensors
from choreo.generators.given_frames import given_frames
from choreo.generators.latent.graphs import DECODER, DENOISER, ENCODER
from choreo.generators.spec import GeneratorSpec
from choreo.generators.timelines import (
    arriving,
    extended,
    normalized_known,
    normalized_prior,
    window_text,
    with_given,
)
from choreo.generators.windowed import plan_of
from choreo.music.beats import beat_phase_channels


@dataclass(frozen=True)
class Tokens:
    """How a generator's windows are made of tokens.

    Attributes:
        count: tokens of a window.
        channels: numbers of a token.
        frames: that a token stands for.
        overlap: tokens that neighbouring windows share; 0: there is one window only.
    """

    count: int
    channels: int
    frames: int
    overlap: int

    def starts(self, num_frames: int) -> list[int]:
        """First tokens of the windows that cover a motion."""
        return window_starts(-(-num_frames // self.frames), self.count, self.overlap)

    def kept(self, starts: Sequence[int]) -> list[tuple[int, int]]:
        """First token and the one after the last that are taken from each window: up to the middle of each overlap.

        There encoder and decoder do not see where a window ends, so that neighbours agree (`VaeConfig.reach`).
        """
        cuts = [after + self.overlap // 2 for _, after in pairwise(starts)]
        return list(zip([0, *cuts], [*cuts, starts[-1] + self.count], strict=True))


class LatentTrajectory:
    """A `Trajectory` of up to three phases, of which the first and the last are a single step.

    Windows share tokens, and denoise them together (`ReverseProcess` over tokens instead of frames); every token is
    decoded where the decoder sees enough of its neighbours, so that a long motion has no seams.
    """

    def __init__(
        self,
        spec: GeneratorSpec,
        tokens: Tokens,
        rhythm_channels: int,
        request: GenerationRequest,
        conditioning: Conditioning,
    ) -> None:
        self.deadline, self.weight = request.deadline, request.weight
        self._spec, self._tokens, self._num_frames = spec, tokens, conditioning.num_frames
        self._plan = plan_of(request)
        self._given = given_frames(request.start, request.constraints, conditioning.num_frames, spec.fps)
        self._constrained = bool(request.constraints)
        self._starts = tokens.starts(conditioning.num_frames)
        length = self._starts[-1] + tokens.count
        self._known, self._known_mask = normalized_known(self._given, length * tokens.frames, spec)
        self._timelines = {
            **timelines(spec, rhythm_channels, tokens, request, conditioning, length),
            "given": np.zeros((length, tokens.channels), np.float32),
            "given_mask": np.zeros((length, 1), np.float32),
        }
        self._encoded = sentences(spec, tokens, conditioning, self._starts, self._plan)
        self._kept = tokens.kept(self._starts)
        self._features = np.zeros((length * tokens.frames, spec.channels), np.float32)
        self._to_encode = [i for i, start in enumerate(self._starts) if self._known_mask[self._span(start)].any()]
        self._process: ReverseProcess | None = None
        self._decoding = self._decoded = False
        self._added: set[int] = set()
        self._counts = {ENCODER: 0, DENOISER: 0, DECODER: 0}
        if not self._to_encode:
            self._denoise()

    @property
    def graph(self) -> str:
        """The encoder's, the denoiser's, then the decoder's."""
        return ENCODER if self._process is None else DECODER if self._decoding else DENOISER

    @property
    def rows(self) -> int:
        """Rows of this step; 0 when done."""
        if self._decoded:
            return 0
        if self._process is None:
            return len(self._to_encode)
        return len(self._starts) if self._decoding else self._process.rows

    @property
    def complete(self) -> bool:
        """Whether every row of this step has been added."""
        if self._process is not None and not self._decoding:
            return self._process.complete
        return len(self._added) == self.rows

    @property
    def done(self) -> bool:
        """Whether the motion has been decoded."""
        return self._decoded

    @property
    def progress(self) -> str:
        """Where it is, for messages."""
        if self._process is None:
            return "encoding what is given"
        return "decoding" if self._decoding else self._process.progress

    @property
    def evaluated(self) -> Mapping[str, int]:
        """Rows that were evaluated so far, by graph."""
        return {**self._counts, **({} if self._process is None else self._process.evaluated)}

    def fill_constant(self, row: int, inputs: Tensors, at: int) -> None:
        """Write what does not change between the steps of a graph."""
        if self._process is None:
            span = self._span(self._starts[self._to_encode[row]])
            inputs["known"][at], inputs["known_mask"][at] = self._known[span], self._known_mask[span]
        elif self._decoding:
            start = self._starts[row]
            inputs["latents"][at] = self._process.result()[start : start + self._tokens.count]
        else:
            self._process.fill_constant(row, inputs, at)

    def fill_step(self, row: int, inputs: Tensors, at: int) -> None:
        """Write what changes from step to step: nothing for encoder and decoder."""
        if self._process is not None and not self._decoding:
            self._process.fill_step(row, inputs, at)

    def add(self, row: int, outputs: Mapping[str, Array]) -> None:
        """Take in the outputs of one row of this step."""
        if self._process is not None and not self._decoding:
            return self._process.add(row, outputs)
        window = row if self._decoding else self._to_encode[row]
        (first, stop), start, per = self._kept[window], self._starts[window], self._tokens.frames
        if self._decoding:
            part = outputs["features"][(first - start) * per : (stop - start) * per]
            self._features[first * per : stop * per] = part
        else:
            for name in ("given", "given_mask"):
                self._timelines[name][first:stop] = outputs[name][first - start : stop - start]
        self._added.add(row)
        self._counts[self.graph] += 1

    def advance(self) -> None:
        """Make the step, which is complete, and begin the next one."""
        if self._process is None:
            self._denoise()
        elif self._decoding:
            self._decoded = True
        else:
            self._process.advance()
            self._decoding = self._process.done
        self._added.clear()

    def repeat(self) -> None:
        """Forget what was added to this step."""
        self._added.clear()
        if self._process is not None and not self._decoding:
            self._process.repeat()

    def latents(self) -> Array:
        """The tokens (length, D), scaled, as they are now."""
        assert self._process is not None
        return self._process.result()

    def result(self) -> Array:
        """Features (num_frames, C), not normalised: given frames as they are, and eased into their neighbours."""
        frames = slice(0, self._num_frames)
        known, mask = self._known[frames], self._known_mask[frames]
        x = with_given(self._features[frames], known, mask, self._given)
        if self._constrained:
            x = arriving(x, known, mask, self._given, self._spec)
        return self._spec.denormalize(x).astype(np.float32)

    def _span(self, start: int) -> slice:
        """Frames of the window that begins with a token."""
        return slice(start * self._tokens.frames, (start + self._tokens.count) * self._tokens.frames)

    def _denoise(self) -> None:
        spec, tokens = self._spec, self._tokens
        scaled = spec.model_copy(
            update={"window": tokens.count, "mean": (0.0,) * tokens.channels, "std": (1.0,) * tokens.channels}
        )
        self._process = ReverseProcess(
            scaled,
            spec.graph(DENOISER),
            self._plan,
            self._starts,
            self._encoded,
            self._timelines,
            overlap=tokens.overlap,
        )


def timelines(
    spec: GeneratorSpec,
    rhythm_channels: int,
    tokens: Tokens,
    request: GenerationRequest,
    conditioning: Conditioning,
    length: int,
) -> Tensors:
    """Inputs of the denoiser that lie along the time of a request, each (length, frames of a token, channels)."""
    frames = length * tokens.frames
    music, music_mask = np.zeros((frames, spec.music_dim), np.float32), np.zeros(frames, np.float32)
    if conditioning.music is not None:
        part = conditioning.music[:frames]
        music[: len(part)], music_mask[: len(part)] = part, 1
    rhythm = beat_phase_channels(
        conditioning.beats, conditioning.onset, conditioning.num_frames, spec.fps, conditioning.downbeats
    )
    prior = normalized_prior(request, frames, spec)
    every: dict[str, NDArray[np.float32]] = {
        "music": music,
        "music_mask": music_mask,
        "rhythm": extended(rhythm[:, :rhythm_channels], frames),
        "prior": prior[:, :-1],
        "prior_mask": prior[:, -1],
    }
    return {name: values.reshape(length, tokens.frames, *values.shape[1:]) for name, values in every.items()}


def sentences(
    spec: GeneratorSpec, tokens: Tokens, conditioning: Conditioning, starts: Sequence[int], plan: Plan
) -> Tensors:
    """`text` and `has_text` of every window, again where text and music are guided apart, and of the null row."""
    texts = [window_text(conditioning, start * tokens.frames, spec) for start in starts]
    nothing = np.zeros(spec.text_dim, np.float32)
    text = np.stack([nothing if text is None else text for text in texts]).astype(np.float32)
    has_text = np.array([[text is not None] for text in texts], np.float32)
    kinds = 2 if len(plan.row_weights) > TEXT_ONLY else 1
    return {
        "text": np.concatenate([*[text] * kinds, nothing[None]]),
        "has_text": np.concatenate([*[has_text] * kinds, np.zeros((1, 1), np.float32)]),
    }
