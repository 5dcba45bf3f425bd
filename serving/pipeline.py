"""The one orchestration: encode, retrieve, sample, finish. In process and behind the servers it is this code."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from choreo.errors import DeadlineExceeded
from serving.request import Job
from serving.stages import Conditioning, Prior, Result, Sampled, Stages


class Pipeline:
    """Runs jobs through the stages and times them."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages

    async def run(self, job: Job) -> Result:
        """One finished motion.

        Raises:
            ChoreoError: what the stages raise; `DeadlineExceeded` before a stage that would start too late.
        """
        seconds: dict[str, float] = {}
        spec = await self._stages.spec(job.model)
        async with _timed("encode", seconds, job):
            conditioning = await self._stages.encode(job, spec)
        async with _timed("retrieve", seconds, job):
            prior = await self._stages.retrieve(job, conditioning) if job.use_rag else None
        async with _timed("sample", seconds, job):
            sampled = await self._stages.sample(job, conditioning, prior)
        async with _timed("finish", seconds, job):
            meta = provenance(job, conditioning, prior, sampled)
            motion, before_lock = await self._stages.finish(job, sampled, meta)
        phrases = prior.phrases if prior else []
        return Result(motion, before_lock, sampled.model, job.seed, phrases, seconds, sampled.rows)


def provenance(job: Job, conditioning: Conditioning, prior: Prior | None, sampled: Sampled) -> dict[str, Any]:
    """What a motion file says about where it came from."""
    return {
        "seed": job.seed,
        "model": sampled.model,
        "rows": sampled.rows,
        "prompt": job.text,
        "song": conditioning.song,
        "tempo": round(conditioning.tempo, 2),
        "sampler": job.sampler,
        "num_steps": job.num_steps,
        "guidance_scale": job.guidance_scale,
        "phrases": prior.phrases if prior else [],
    }


@asynccontextmanager
async def _timed(stage: str, seconds: dict[str, float], job: Job) -> AsyncIterator[None]:
    if time.time() > job.deadline:
        raise DeadlineExceeded(f"the deadline passed before {stage}")
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = round(time.perf_counter() - began, 4)
