"""The tokens of one request as they come: a step of the language model each."""

from collections.abc import Mapping

import numpy as np

from choreo.diffusion.noise import uniform
from choreo.generators.base import Array, Conditioning, Tensors
from choreo.generators.composite.graphs import PlanParameters
from choreo.generators.composite.nucleus import sampled
from choreo.generators.spec import GraphSpec
from choreo.generators.text_segments import segment_of
from choreo.generators.timelines import extended
from choreo.music.beats import beat_phase_channels


class TokenStream:
    """Draws tokens until there are enough, or the end is drawn.

    Each token is a function of the seed, its number and the logits: who shares the calls does not matter.
    """

    def __init__(
        self,
        graph: GraphSpec,
        plan: PlanParameters,
        conditioning: Conditioning,
        fps: float,
        seed: int,
        min_tokens: int,
        max_tokens: int,
    ) -> None:
        """A stream without tokens yet.

        Args:
            graph: the language model's.
            plan: how tokens are drawn.
            conditioning: song and sentences.
            fps: of the music features.
            seed: of the draws.
            min_tokens: before which the end is not allowed; there is one token at least.
            max_tokens: after which it is not waited for, 1 or more.
        """
        shapes, self._plan, self._conditioning = graph.input_shapes, plan, conditioning
        self._entries, self._context, _ = shapes["cache"]
        self._patch, rhythm_channels = shapes["rhythm"]
        self._text_dim, self._codes = shapes["text"][0], graph.output_shapes["logits"][0] - 1
        self._seed, self._min, self._max = seed, max(min_tokens, 1), max_tokens
        frames = max_tokens * self._patch
        rhythm = beat_phase_channels(
            conditioning.beats, conditioning.onset, min(conditioning.num_frames, frames), fps, conditioning.downbeats
        )
        self._rhythm = extended(rhythm[:, :rhythm_channels], frames)
        self._spans = [(segment.first, segment.stop) for segment in conditioning.segments]
        self._cache = np.zeros(shapes["cache"], np.float32)
        self._cache_mask = np.zeros(self._context, np.float32)
        self._drawn: list[int] = []
        self._ended = False

    @property
    def tokens(self) -> list[int]:
        """Those drawn so far."""
        return self._drawn

    @property
    def done(self) -> bool:
        """Whether no more will come."""
        return self._ended or len(self._drawn) >= self._max

    @property
    def steps(self) -> int:
        """Steps of the language model so far."""
        return len(self._drawn) + self._ended

    @property
    def progress(self) -> str:
        """Where it is, for messages."""
        return f"token {len(self._drawn)} of {self._max}"

    def fill(self, inputs: Tensors, at: int) -> None:
        """Write what the next token is drawn from into position `at` of the graph's inputs."""
        index = len(self._drawn)
        frames = slice(index * self._patch, (index + 1) * self._patch)
        inputs["token"][at] = self._drawn[-1] if self._drawn else self._codes
        inputs["position"][at] = index
        inputs["music"][at], inputs["music_mask"][at] = 0, 0
        if self._conditioning.music is not None:
            part = self._conditioning.music[frames]
            inputs["music"][at, : len(part)], inputs["music_mask"][at, : len(part)] = part, 1
        inputs["rhythm"][at] = self._rhythm[frames]
        text = self._text(frames.start)
        inputs["text"][at] = 0 if text is None else text
        inputs["has_text"][at] = text is not None
        inputs["cache"][at], inputs["cache_mask"][at] = self._cache, self._cache_mask

    def take(self, outputs: Mapping[str, Array]) -> None:
        """Draw the next token from a row of the graph's outputs."""
        index = len(self._drawn)
        never = (self._codes,) if index < self._min else ()
        chance = uniform(self._seed, index)
        token = sampled(outputs["logits"], chance, self._plan.top_p, self._plan.temperature, never)
        if token == self._codes:
            self._ended = True
            return
        self._drawn.append(token)
        slot = index % self._context
        self._cache[:, slot], self._cache_mask[slot] = outputs["entry"], 1

    def _text(self, first: int) -> Array | None:
        """The sentence (E,) that holds at a token's frames."""
        conditioning = self._conditioning
        frames = max(conditioning.num_frames, first + self._patch)
        found = segment_of(first, self._patch, frames, self._spans) if self._spans else None
        return conditioning.text if found is None else conditioning.segments[found].text
