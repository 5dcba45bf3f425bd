"""The stages in this process: what `choreo generate` uses, and what each deployment runs one of."""

import asyncio
from typing import Any

import numpy as np
from numpy.typing import NDArray

from choreo.generators.spec import ModelSpec
from choreo.motion.clip import Motion
from serving.engines.base import Engine
from serving.pipeline.contracts import Conditioning, Prior, RetrievalResult, SamplingResult, SearchResult
from serving.pipeline.request import MotionRequest
from serving.sampling.executors import executor
from serving.settings import Settings
from serving.stages.context_cache import ContextCache
from serving.stages.encoder import Encoder
from serving.stages.finisher import finish_motion
from serving.stages.retriever import Retriever
from serving.stages.sampler import Sampler


class LocalStages:
    """All four stages over one engine; blocking work runs in threads.

    Args:
        retriever: of the phrases; None: one of the library that the settings name.
    """

    def __init__(self, engine: Engine, settings: Settings, retriever: Retriever | None = None) -> None:
        self._encoder = Encoder(settings)
        self._retriever = retriever or Retriever(settings.phrases, cross_encoder=settings.cross_encoder)
        self._sampler = Sampler(engine, executor(settings), ContextCache(settings.context_cache_bytes))

    async def close(self) -> None:
        """Fail what is in flight, and give back what it took. Engine and retriever are closed by whoever made them."""
        await self._sampler.close()

    async def spec(self, model: str | None) -> ModelSpec:
        """See `Stages`."""
        return await self._sampler.spec(model)

    async def encode(self, job: MotionRequest, spec: ModelSpec) -> Conditioning:
        """See `Stages`."""
        return await asyncio.to_thread(self._encoder.encode, job, spec)

    async def retrieve(self, job: MotionRequest, conditioning: Conditioning) -> RetrievalResult:
        """See `Stages`."""
        return await self._retriever.retrieve(job, conditioning)

    async def search(self, job: MotionRequest, conditioning: Conditioning, top_n: int) -> SearchResult:
        """See `Stages`."""
        return await self._retriever.search(job, conditioning, top_n)

    async def sample(self, job: MotionRequest, conditioning: Conditioning, prior: Prior | None) -> SamplingResult:
        """See `Stages`."""
        return await self._sampler.sample(job, conditioning, prior)

    async def finish(
        self, job: MotionRequest, sampled: SamplingResult, meta: dict[str, Any]
    ) -> tuple[Motion, NDArray[np.float32]]:
        """See `Stages`."""
        spec = await self.spec(job.model)
        return await asyncio.to_thread(finish_motion, job, sampled, spec.fps, meta)
