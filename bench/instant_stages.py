"""Stages that take no time, for measurements of everything around them."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.scaling import SPEC
from choreo.errors import InvalidInput
from choreo.generators.base import Conditioning
from choreo.generators.spec import GeneratorSpec
from choreo.motion.performance import Performance
from choreo.motion.skeleton import WINDOW
from choreo.music.song_beats import NO_BEATS, SongBeats
from serving.pipeline.contracts import Stages
from serving.pipeline.encoded_request import EncodedRequest
from serving.pipeline.phrases import LibraryFacts, PhraseQuery, Prior, RetrievalResult, SearchResult
from serving.pipeline.request import MotionRequest
from serving.pipeline.results import MotionFile, SampleScore, SamplingResult

FILE_BYTES: Final = 32 << 10
"""Of a motion of a second, about."""
_NONE: Final = "there is no phrase library"
_FILE: Final = bytes(FILE_BYTES)


class InstantEncoder:
    """Encodes nothing."""

    async def encode(self, request: MotionRequest, spec: GeneratorSpec) -> EncodedRequest:
        """A conditioning of the right length."""
        return EncodedRequest(Conditioning(request.num_frames or WINDOW))

    async def warm_up(self, spec: GeneratorSpec) -> None:
        """Nothing to load."""


class InstantRetriever:
    """Finds nothing."""

    async def retrieve(self, query: PhraseQuery) -> RetrievalResult:
        """No prior."""
        return RetrievalResult(None, _NONE)

    async def search(self, query: PhraseQuery, top_n: int) -> SearchResult:
        """No phrases."""
        return SearchResult([], None, _NONE)

    async def library(self) -> LibraryFacts | None:
        """None."""
        return None

    async def warm_up(self, spec: GeneratorSpec) -> None:
        """Nothing to load."""


class InstantSampler:
    """Generates zeros.

    Args:
        stuck: whether no request ever ends.
    """

    def __init__(self, stuck: bool) -> None:
        self._stuck = stuck

    async def models(self) -> dict[str, GeneratorSpec]:
        """The one generator."""
        return {SPEC.name: SPEC}

    async def sample(self, request: MotionRequest, conditioning: Conditioning, prior: Prior | None) -> SamplingResult:
        """Features of the right length."""
        if self._stuck:
            await asyncio.Event().wait()
        features = np.zeros((conditioning.num_frames, len(SPEC.mean)), np.float32)
        return SamplingResult(features, SPEC.name, SPEC.fps, {})

    async def samples(
        self, request: MotionRequest, conditioning: Conditioning, prior: Prior | None
    ) -> list[SamplingResult | None]:
        """As many of them."""
        return [await self.sample(request, conditioning, prior) for _ in request.seeds]

    async def warm_up(self) -> None:
        """Nothing to wait for."""


class InstantFinisher:
    """Writes a file of zeros."""

    async def finish(
        self, request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any], beats: SongBeats = NO_BEATS
    ) -> tuple[Performance, NDArray[np.float32]]:
        """Not of use here.

        Raises:
            InvalidInput: always.
        """
        raise InvalidInput("format", "only files are made")

    async def score(
        self, request: MotionRequest, samples: Sequence[SamplingResult | None], beats: SongBeats = NO_BEATS
    ) -> list[SampleScore | None]:
        """The first one is chosen."""
        return [SampleScore(seed, None, 0.0, None, 0.0, 0.0, chosen=i == 0) for i, seed in enumerate(request.seeds)]

    async def deliver(
        self, request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any], beats: SongBeats = NO_BEATS
    ) -> MotionFile:
        """The file."""
        return MotionFile(_FILE, {"finish": 0.0})

    async def warm_up(self) -> None:
        """Nothing to load."""


def instant_stages(stuck: bool = False) -> Stages:
    """All four; see `InstantSampler` for `stuck`."""
    return Stages(InstantEncoder(), InstantRetriever(), InstantSampler(stuck), InstantFinisher())
