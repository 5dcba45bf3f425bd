"""One request on its way: tokens one by one, their draft, and diffusion between the key poses of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from choreo.generators.base import Array, Conditioning, GenerationRequest, KeyPoses, RowCache, Tensors
from choreo.generators.composite.draft import Draft
from choreo.generators.composite.graphs import DECODER, GPT
from choreo.generators.composite.key_poses import in_place_of, key_frames, with_key_poses
from choreo.generators.composite.token_stream import TokenStream
from choreo.generators.constraints import root_of
from choreo.generators.windowed import CONDITIONER, DENOISER, ConditionedTrajectory
from choreo.motion.representation import representation

if TYPE_CHECKING:
    from choreo.generators.composite.generator import CompositeGenerator


class CompositeTrajectory:
    """A `Trajectory` of three phases: steps of one token, one step of the decoder, and those of the U-Net."""

    def __init__(
        self,
        generator: "CompositeGenerator",
        request: GenerationRequest,
        conditioning: Conditioning,
        cache: RowCache | None,
        min_tokens: int,
        max_tokens: int,
    ) -> None:
        """A request at its beginning.

        Args:
            generator: whose graphs are evaluated.
            request: what is asked for.
            conditioning: song and sentences.
            cache: rows of the conditioner that were evaluated before.
            min_tokens: before which the dance may not end.
            max_tokens: that are drawn at most. Where the end is drawn before, the dance is as long as its tokens.
        """
        self.deadline, self.weight = request.deadline, request.weight
        self._generator, self._request, self._conditioning, self._cache = generator, request, conditioning, cache
        generator.plan(request)  # refuses what diffusion cannot do before a token is drawn
        self._own = generator.given(request, conditioning.num_frames)
        spec = generator.spec
        self._stream = TokenStream(
            spec.graph(GPT), generator.planning, conditioning, spec.fps, request.seed, min_tokens, max_tokens
        )
        self._output: Mapping[str, Array] | None = None
        self._draft: Draft | None = None
        self._dance: ConditionedTrajectory | None = None
        self._key_poses: KeyPoses | None = None

    @property
    def graph(self) -> str:
        """The language model's, the decoder's, then those of the U-Net."""
        if self._dance is not None:
            return self._dance.graph
        return GPT if self._draft is None else DECODER

    @property
    def rows(self) -> int:
        """Rows of this step; 0 when done."""
        if self._dance is not None:
            return self._dance.rows
        return 1 if self._draft is None else self._draft.rows

    @property
    def complete(self) -> bool:
        """Whether every row of this step has been added."""
        if self._dance is not None:
            return self._dance.complete
        return self._output is not None if self._draft is None else self._draft.complete

    @property
    def done(self) -> bool:
        """Whether the last step was made."""
        return self._dance is not None and self._dance.done

    @property
    def progress(self) -> str:
        """Where it is, for messages."""
        if self._dance is not None:
            return self._dance.progress
        return self._stream.progress if self._draft is None else "decoding key poses"

    @property
    def evaluated(self) -> Mapping[str, int]:
        """Rows that were evaluated so far, by graph."""
        danced = {CONDITIONER: 0, DENOISER: 0} if self._dance is None else self._dance.evaluated
        drafted = self._draft.rows if self._draft is not None and self._draft.complete else 0
        return {GPT: self._stream.steps, DECODER: drafted, **danced}

    @property
    def tokens(self) -> list[int]:
        """Those drawn so far."""
        return self._stream.tokens

    @property
    def key_poses(self) -> KeyPoses:
        """What the dance was planned with, when done.

        Where the request gives no place, they lie where the decoded dance does, which begins over the origin.
        """
        assert self._key_poses is not None
        if self._own.in_world or not len(self._key_poses.frames):
            return self._key_poses
        spec = self._generator.spec
        first = int(self._key_poses.frames[0])
        danced = representation(spec.representation).decode(self.result()[: first + 1], spec.fps)[-1]
        return self._key_poses.moved(root_of(danced))

    def fill_constant(self, row: int, inputs: Tensors, at: int) -> None:
        """Write what does not change between the steps of a graph."""
        if self._dance is not None:
            self._dance.fill_constant(row, inputs, at)
        elif self._draft is not None:
            self._draft.fill(row, inputs, at)

    def fill_step(self, row: int, inputs: Tensors, at: int) -> None:
        """Write what changes from step to step."""
        if self._dance is not None:
            self._dance.fill_step(row, inputs, at)
        elif self._draft is None:
            self._stream.fill(inputs, at)

    def add(self, row: int, outputs: Mapping[str, Array]) -> None:
        """Take in the outputs of one row of this step."""
        if self._dance is not None:
            self._dance.add(row, outputs)
        elif self._draft is not None:
            self._draft.add(row, outputs)
        else:
            self._output = {name: np.array(values) for name, values in outputs.items()}

    def advance(self) -> None:
        """Make the step, which is complete, and begin the next one."""
        if self._dance is not None:
            self._dance.advance()
        elif self._draft is not None:
            self._plan(self._draft)
        else:
            assert self._output is not None
            self._stream.take(self._output)
            self._output = None
            if self._stream.done:
                self._begin_draft()

    def repeat(self) -> None:
        """Forget what was added to this step."""
        self._output = None
        if self._dance is not None:
            self._dance.repeat()
        elif self._draft is not None:
            self._draft.forget()

    def result(self) -> Array:
        """Features (num_frames, C), fewer if the end was drawn, not normalised: what is given and planned is met."""
        assert self._dance is not None
        return self._dance.result()

    def _begin_draft(self) -> None:
        shapes = self._generator.spec.graph(DECODER)
        window = shapes.input_shapes["tokens"][0]
        self._draft = Draft(self._stream.tokens, window, shapes.output_shapes["features"][0] // window)

    def _plan(self, draft: Draft) -> None:
        """Choose the key poses, and begin to dance between them; a dance whose end was drawn is no longer than that."""
        generator, request, spec = self._generator, self._request, self._generator.spec
        features, interval = draft.features(spec), generator.planning.key_pose_interval
        conditioning = self._conditioning
        if len(features) < conditioning.num_frames:
            conditioning = replace(conditioning, num_frames=len(features))
            self._own = generator.given(request, len(features))
        positions = in_place_of(features, self._own, representation(spec.representation))
        frames = key_frames(conditioning.num_frames, conditioning.beats, spec.fps, interval)
        given, self._key_poses = with_key_poses(self._own, positions, frames, interval // 2)
        self._dance = ConditionedTrajectory(generator, request, conditioning, self._cache, given)
