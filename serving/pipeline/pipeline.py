"""The one orchestration: encode, retrieve, sample, finish. In process and behind the servers it is this code."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from choreo.errors import DeadlineExceeded
from serving.pipeline.contracts import (
    Conditioning,
    DeliveredFile,
    Result,
    RetrievalResult,
    SamplingResult,
    SearchResult,
    ServingStages,
    Stages,
)
from serving.pipeline.request import MotionRequest

NOT_WANTED = RetrievalResult(None, "use_rag is false")


@dataclass(frozen=True)
class DanceResult:
    """A denoised request, what its motion's metadata say, and the seconds of the stages that it came through."""

    sampled: SamplingResult
    retrieved: RetrievalResult
    meta: dict[str, Any]
    seconds: dict[str, float]


class Pipeline:
    """Runs jobs through the stages and times them."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages

    async def run(self, job: MotionRequest) -> Result:
        """One finished motion.

        Raises:
            ChoreoError: what the stages raise; `DeadlineExceeded` before a stage that would start too late.
        """
        danced = await self._dance(job)
        async with _timed("finish", danced.seconds, job):
            motion, before_lock = await self._stages.finish(job, danced.sampled, danced.meta)
        model, rows = danced.sampled.model, danced.sampled.rows
        return Result(motion, before_lock, model, job.seed, danced.retrieved, danced.seconds, rows)

    async def _dance(self, job: MotionRequest) -> DanceResult:
        seconds: dict[str, float] = {}
        spec = await self._stages.spec(job.model)
        async with _timed("encode", seconds, job):
            conditioning = await self._stages.encode(job, spec)
        async with _timed("retrieve", seconds, job):
            retrieved = await self._stages.retrieve(job, conditioning) if job.use_rag else NOT_WANTED
        async with _timed("sample", seconds, job):
            sampled = await self._stages.sample(job, conditioning, retrieved.prior)
        return DanceResult(sampled, retrieved, provenance(job, conditioning, retrieved, sampled), seconds)

    async def search(self, job: MotionRequest, top_n: int) -> tuple[Conditioning, SearchResult]:
        """The phrases that `run` would begin from, and those after them.

        Raises:
            ChoreoError: see `run`.
        """
        spec = await self._stages.spec(job.model)
        conditioning = await self._stages.encode(job, spec)
        return conditioning, await self._stages.search(job, conditioning, top_n)


class Delivery(Pipeline):
    """Runs jobs to files."""

    def __init__(self, stages: ServingStages) -> None:
        super().__init__(stages)
        self._serving = stages

    async def deliver(self, job: MotionRequest, about: dict[str, Any]) -> DeliveredFile:
        """One finished motion in the job's format; metadata get `about`, and the seconds of the stages, if it is not
        empty.

        Raises:
            ChoreoError: see `Pipeline.run`.
        """
        danced = await self._dance(job)
        sampled, seconds = danced.sampled, danced.seconds
        more = about and about | {"model": sampled.model, "rows": sampled.rows, "seconds": seconds}
        in_time("finish", job)
        file = await self._serving.deliver(job, sampled, danced.meta | more)
        return DeliveredFile(file.body, len(sampled.features), danced.retrieved, seconds | file.seconds, sampled.rows)


def provenance(
    job: MotionRequest, conditioning: Conditioning, retrieved: RetrievalResult, sampled: SamplingResult
) -> dict[str, Any]:
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


def in_time(stage: str, job: MotionRequest) -> None:
    """Raise `DeadlineExceeded` where a stage would start too late."""
    if time.time() > job.deadline:
        raise DeadlineExceeded(f"the deadline passed before {stage}")


@asynccontextmanager
async def _timed(stage: str, seconds: dict[str, float], job: MotionRequest) -> AsyncIterator[None]:
    in_time(stage, job)
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = round(time.perf_counter() - began, 4)
