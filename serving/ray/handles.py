"""The stages behind Ray Serve handles: cancellation, lost replicas and full queues as the pipeline knows them."""

import asyncio
import logging
import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.exceptions import RayActorError, TaskCancelledError, WorkerCrashedError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
    RequestCancelledError,
)
from ray.serve.handle import DeploymentHandle

from choreo.errors import BackendUnavailable, InvalidInput
from choreo.generators.spec import ModelSpec
from choreo.motion.clip import Motion
from serving.errors import Overloaded
from serving.pipeline.contracts import (
    Conditioning,
    LibraryFacts,
    MotionFile,
    Prior,
    RetrievalResult,
    SamplingResult,
    SearchResult,
)
from serving.pipeline.request import MotionRequest
from serving.ray.replicas import Failed
from serving.stages.conditioning_cache import ConditioningCache, conditioning_key

log = logging.getLogger(__name__)

ATTEMPTS = 2
"""Stages are functions of their arguments, the seed among them, so what a dying replica took along is asked again."""
MODELS_FOR_S = 10.0
"""How long a list of models is believed."""
READY_S = 30.0
"""Longest time for the canaries of all stages; the first ones load what the stages need."""

_LOST = (RayActorError, ReplicaUnavailableError, WorkerCrashedError)
_CANCELLED = (asyncio.CancelledError, RequestCancelledError, TaskCancelledError)


class HandleStages:
    """The stages of `serving.pipeline.contracts.ServingStages`, each a deployment."""

    def __init__(
        self,
        encoder: DeploymentHandle,
        retriever: DeploymentHandle,
        sampler: DeploymentHandle,
        finisher: DeploymentHandle,
        cache: ConditioningCache | None = None,
    ) -> None:
        self._encoder, self._retriever, self._sampler, self._finisher = encoder, retriever, sampler, finisher
        self._cache = ConditioningCache(0) if cache is None else cache
        self._models: dict[str, ModelSpec] = {}
        self._models_until = 0.0

    async def models(self) -> dict[str, ModelSpec]:
        """See `ServingStages`."""
        if time.monotonic() >= self._models_until:
            self._models = await call(self._sampler.models)
            self._models_until = time.monotonic() + MODELS_FOR_S
        return self._models

    async def spec(self, model: str | None) -> ModelSpec:
        """See `Stages`."""
        models = await self.models()
        name = next(iter(models)) if model is None else model
        if name not in models:
            raise InvalidInput("model", f"must be one of {', '.join(sorted(models))}, got {name[:32]!r}")
        return models[name]

    async def encode(self, job: MotionRequest, spec: ModelSpec) -> Conditioning:
        """See `Stages`."""
        heard = job.audio is not None or job.features is not None  # megabytes are not hashed on the event loop
        key = await asyncio.to_thread(conditioning_key, job, spec) if heard else conditioning_key(job, spec)
        known = self._cache.get(key)
        if known is None:
            known = await call(self._encoder.encode, job, spec)
            self._cache.put(key, known)
        return known

    async def retrieve(self, job: MotionRequest, conditioning: Conditioning) -> RetrievalResult:
        """See `Stages`."""
        return await call(self._retriever.retrieve, _light(job), _query_only(conditioning))

    async def search(self, job: MotionRequest, conditioning: Conditioning, top_n: int) -> SearchResult:
        """See `Stages`."""
        return await call(self._retriever.search, _light(job), _query_only(conditioning), top_n)

    async def library(self) -> LibraryFacts | None:
        """See `ServingStages`."""
        return await call(self._retriever.library)

    async def sample(self, job: MotionRequest, conditioning: Conditioning, prior: Prior | None) -> SamplingResult:
        """See `Stages`."""
        return await call(self._sampler.sample, _light(job), conditioning, prior)

    async def finish(
        self, job: MotionRequest, sampled: SamplingResult, meta: dict[str, Any]
    ) -> tuple[Motion, NDArray[np.float32]]:
        """See `Stages`."""
        spec = await self.spec(sampled.model)
        return await call(self._finisher.finish, _light(job), sampled, spec.fps, meta)

    async def deliver(self, job: MotionRequest, sampled: SamplingResult, meta: dict[str, Any]) -> MotionFile:
        """See `ServingStages`."""
        spec = await self.spec(sampled.model)
        heard = job if job.format.needs_audio else replace(job, audio=None)
        return await call(self._finisher.deliver, replace(heard, features=None), sampled, spec.fps, meta)

    async def ready(self) -> None:
        """See `ServingStages`."""
        try:
            async with asyncio.timeout(READY_S):
                await call(self._sampler.canary)
                spec = await self.spec(None)
                await asyncio.gather(
                    call(self._encoder.warm_up, spec),
                    call(self._retriever.warm_up, spec),
                    call(self._finisher.warm_up),
                )
        except TimeoutError as error:
            raise BackendUnavailable("a stage did not answer its canary in time") from error


async def call(method: DeploymentHandle, *args: Any) -> Any:
    """Call a method of a deployment.

    If the caller is cancelled, so is the call, wherever it has got to.

    Raises:
        ChoreoError: what the method returned as `Failed`.
        Overloaded: the deployment's queue is full.
        BackendUnavailable: no replica could answer.
    """
    lost = ""
    for _ in range(ATTEMPTS):
        response = method.remote(*args)
        try:
            result = await response
        except _CANCELLED as error:
            response.cancel()
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise asyncio.CancelledError from error
            lost = "a replica gave up a request"  # nobody asked for that: it is being stopped
        except BackPressureError as error:
            raise Overloaded from error
        except DeploymentUnavailableError as error:
            raise BackendUnavailable(f"a deployment is down: {error}") from error
        except _LOST as error:
            lost = f"a replica was lost: {type(error).__name__}"
        else:
            if isinstance(result, Failed):
                raise result.error
            return result
        log.warning("%s", lost)
    raise BackendUnavailable(lost)


def _light(job: MotionRequest) -> MotionRequest:
    """The job without what only the encoder reads."""
    return replace(job, audio=None, features=None)


def _query_only(conditioning: Conditioning) -> Conditioning:
    """The conditioning without what only the sampler reads; wide features of a long song weigh a lot."""
    return replace(conditioning, music=None, rhythm=conditioning.rhythm[:0])
