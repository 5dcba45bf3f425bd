"""The stages in this process: what `choreo generate` uses, and what each deployment runs one of."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from choreo.models.spec import ModelSpec
from choreo.motion.clip import Motion
from serving.encoder import Encoder
from serving.engine import Engine
from serving.finisher import finish_motion
from serving.request import Job
from serving.retriever import Retriever
from serving.sampler import Sampler
from serving.settings import Settings
from serving.stages import Conditioning, Prior, Sampled


class LocalStages:
    """All four stages over one engine; blocking work runs in threads."""

    def __init__(self, engine: Engine, settings: Settings, phrases: Path | None = None) -> None:
        self._encoder = Encoder(settings)
        self._retriever: Retriever | None = None
        self._phrases = phrases if phrases is not None else settings.phrases
        self._sampler = Sampler(engine)

    async def spec(self, model: str | None) -> ModelSpec:
        """See `Stages`."""
        return await self._sampler.spec(model)

    async def encode(self, job: Job, spec: ModelSpec) -> Conditioning:
        """See `Stages`."""
        return await asyncio.to_thread(self._encoder.encode, job, spec)

    async def retrieve(self, job: Job, conditioning: Conditioning) -> Prior | None:
        """See `Stages`."""
        if self._retriever is None:
            self._retriever = await asyncio.to_thread(Retriever, self._phrases)
        return await asyncio.to_thread(self._retriever.retrieve, job, conditioning)

    async def sample(self, job: Job, conditioning: Conditioning, prior: Prior | None) -> Sampled:
        """See `Stages`."""
        return await self._sampler.sample(job, conditioning, prior)

    async def finish(self, job: Job, sampled: Sampled, meta: dict[str, Any]) -> tuple[Motion, NDArray[np.float32]]:
        """See `Stages`."""
        spec = await self.spec(job.model)
        return await asyncio.to_thread(finish_motion, job, sampled, spec.fps, meta)
