"""The one orchestration: encode, retrieve, sample, finish. In process and behind the servers it is this code."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from choreo.errors import DeadlineExceeded
from serving.request import Job
from serving.stages import Conditioning, Found, Result, Retrieved, Sampled, Stages

NOT_WANTED = Retrieved(None, "use_rag is false")


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
            retrieved = await self._stages.retrieve(job, conditioning) if job.use_rag else NOT_WANTED
        async with _timed("sample", seconds, job):
            sampled = await self._stages.sample(job, conditioning, retrieved.prior)
        async with _timed("finish", seconds, job):
            meta = provenance(job, conditioning, retrieved, sampled)
            motion, before_lock = await self._stages.finish(job, sampled, meta)
        return Result(motion, before_lock, sampled.model, job.seed, retrieved, seconds, sampled.rows)

    async def search(self, job: Job, top_n: int) -> tuple[Conditioning, Found]:
        """The phrases that `run` would begin from, and those after them.

        Raises:
            ChoreoError: see `run`.
        """
        spec = await self._stages.spec(job.model)
        conditioning = await self._stages.encode(job, spec)
        return conditioning, await self._stages.search(job, conditioning, top_n)


def provenance(job: Job, conditioning: Conditioning, retrieved: Retrieved, sampled: Sampled) -> dict[str, Any]:
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
        "prior": retrieved.document(),
        "phrases": retrieved.phrases(),
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
