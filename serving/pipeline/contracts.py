"""The contract of each stage.

Every stage is one protocol. Objects of this process (`serving.stages`) implement it; the Ray Serve replicas around them
and the handles in front of those are derived from it (`serving.ray.remote`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from choreo.generators.base import Conditioning
from choreo.generators.spec import GeneratorSpec
from choreo.motion.performance import Performance
from choreo.music.song_beats import NO_BEATS, SongBeats
from serving.pipeline.encoded_request import EncodedRequest
from serving.pipeline.phrases import LibraryFacts, PhraseQuery, Prior, RetrievalResult, SearchResult
from serving.pipeline.request import MotionRequest
from serving.pipeline.results import MotionFile, SampleScore, SamplingResult


class EncodeStage(Protocol):
    """Decodes and encodes songs and prompts."""

    async def encode(self, request: MotionRequest, spec: GeneratorSpec) -> EncodedRequest:
        """Encode for a generator.

        Raises:
            InvalidInput: the song cannot be decoded, is too long, or its features do not fit the generator.
            MissingDependency: the generator's encoder is not installed.
        """
        ...

    async def warm_up(self, spec: GeneratorSpec) -> None:
        """Load the encoders that a generator needs."""
        ...


class RetrieveStage(Protocol):
    """Finds phrases, and makes priors of them."""

    async def retrieve(self, query: PhraseQuery) -> RetrievalResult:
        """Motion prior from the phrase library, or why there is none.

        Raises:
            InvalidArtifact: the library is broken.
        """
        ...

    async def search(self, query: PhraseQuery, top_n: int) -> SearchResult:
        """The phrases that `retrieve` would choose from, and those after them.

        Raises:
            InvalidArtifact: the library was built with another text encoder.
        """
        ...

    async def library(self) -> LibraryFacts | None:
        """What is known of the phrase library in use."""
        ...

    async def warm_up(self, spec: GeneratorSpec) -> None:
        """Open the library for queries from a generator's text encoder."""
        ...


class SampleStage(Protocol):
    """Takes requests through the graphs of generators."""

    async def models(self) -> dict[str, GeneratorSpec]:
        """Contracts of the served generators, the default one first."""
        ...

    async def sample(self, request: MotionRequest, conditioning: Conditioning, prior: Prior | None) -> SamplingResult:
        """Generate features with the seed of the request, whatever its number of samples.

        Raises:
            InvalidInput: no generator of the request's name is served.
            DeadlineExceeded: the request's deadline passed; no further step was started.
            ModelUnavailable: the generator was unloaded.
            BackendUnavailable, NonFiniteOutput: from the engine.
        """
        ...

    async def samples(
        self, request: MotionRequest, conditioning: Conditioning, prior: Prior | None
    ) -> list[SamplingResult | None]:
        """`sample` for each of `request.seeds`, in their order and in the same step batches.

        None stands for a sample in which the model produced NaN or infinity.

        Raises:
            NonFiniteOutput: it did so in all of them.
            ChoreoError: any other error of one sample, as in `sample`; it ends all.
        """
        ...

    async def warm_up(self) -> None:
        """Return when every served generator answers; raise what stands in the way."""
        ...


class FinishStage(Protocol):
    """Makes finished motion of generated features, and files of finished motion."""

    async def finish(
        self, request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any], beats: SongBeats = NO_BEATS
    ) -> tuple[Performance, NDArray[np.float32]]:
        """Features to a finished performance, and positions (N, T, 22, 3) before the foot lock."""
        ...

    async def score(
        self, request: MotionRequest, samples: Sequence[SamplingResult | None], beats: SongBeats = NO_BEATS
    ) -> list[SampleScore | None]:
        """How good each of the samples of one request is when finished, in their order; one is `chosen`.

        None stands for a sample that was not generated or cannot be finished, because of NaN or infinity.

        Args:
            samples: as `SampleStage.samples` gives them; at least one was generated.

        Raises:
            NonFiniteOutput: none of them can be finished.
        """
        ...

    async def deliver(
        self, request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any], beats: SongBeats = NO_BEATS
    ) -> MotionFile:
        """`finish`, and the motion in the request's format, in one call so that the motion is not moved in between.

        Where `meta` has "seconds", those of finishing are added there.
        """
        ...

    async def warm_up(self) -> None:
        """Load what finishing needs."""
        ...


@dataclass(frozen=True)
class Stages:
    """The four stages, wherever they run; each raises the typed errors of `choreo.errors`."""

    encoder: EncodeStage
    retriever: RetrieveStage
    sampler: SampleStage
    finisher: FinishStage
