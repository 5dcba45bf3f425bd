"""The sampling stage: a request becomes a trajectory, which an executor takes through the graphs of its generator."""

import asyncio
import logging
import time
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from choreo.errors import DeadlineExceeded, InvalidInput, NonFiniteOutput
from choreo.generators.base import (
    Conditioning,
    GenerationRequest,
    Generator,
    NotForThisModel,
    PlansKeyPoses,
    RowCache,
    Trajectory,
    zeros,
)
from choreo.generators.registry import generator
from choreo.generators.spec import GeneratorSpec
from choreo.motion.representation import in_default, representation
from serving.engines.base import Engine
from serving.engines.leases import Leases, Served
from serving.pipeline.figures import CacheFigures, StageFigures
from serving.pipeline.phrases import Prior
from serving.pipeline.pipeline import chosen
from serving.pipeline.request import MotionRequest
from serving.pipeline.results import SamplingResult
from serving.sampling.runner import MakeExecutor
from serving.stages.context_cache import ContextCache
from serving.util.threads import run_in_thread_unless_fast
from serving.util.turns import Turns

log = logging.getLogger(__name__)

CANARY_S = 5.0
"""Longest time that a canary inference may take."""
BUSY_S = 2.0
"""An answer to real work that is no older makes a canary needless, which would have to wait behind that work."""


@runtime_checkable
class ReadsModels(Protocol):
    """An engine whose list of models may change."""

    async def forget_models(self) -> None:
        """Read the list again at the next call."""
        ...


class Sampler:
    """Generates features through one engine.

    Args:
        engine: evaluates the graphs; it stays open.
        make_executor: of what takes trajectories through it; `serving.sampling.runner.executor` gives one.
        cache: of rows that do not depend on the step.
        concurrency: samples that are generated at a time; others wait, and requests take turns.
        leases: keeps generators loaded while requests use them; None where nothing unloads them.
    """

    def __init__(
        self,
        engine: Engine,
        make_executor: MakeExecutor,
        cache: ContextCache | None = None,
        concurrency: int = 32,
        leases: Leases | None = None,
    ) -> None:
        self._engine, self._executor = engine, make_executor(engine)
        self._cache = ContextCache(0) if cache is None else cache
        self._generators: dict[str, Generator] = {}
        self._models: dict[str, GeneratorSpec] = {}
        self._turns = Turns(concurrency)
        self._leases = leases or Leases()
        self._seen: Served | None = None

    async def models(self) -> dict[str, GeneratorSpec]:
        """Contracts of the served generators, the default one first."""
        served = self._leases.served()
        if served is None:
            return await self._engine.models()
        if served != self._seen:
            self._seen = served
            if isinstance(self._engine, ReadsModels):
                await self._engine.forget_models()
        await self._release_unused(served)
        # One that is being reloaded is not there for a moment; until then it is what it was.
        paused = {name: self._models[name] for name in served.paused if name in self._models}
        there = paused if paused.keys() >= set(served.names) else await self._engine.models() | paused
        self._models = {name: there[name] for name in served.names if name in there}
        return self._models

    async def sample(self, request: MotionRequest, conditioning: Conditioning, prior: Prior | None) -> SamplingResult:
        """Generate features; errors as in `SampleStage.sample`."""
        return await self._sample(request, conditioning, prior, object())

    async def samples(
        self, request: MotionRequest, conditioning: Conditioning, prior: Prior | None
    ) -> list[SamplingResult | None]:
        """Generate features with each seed; results and errors are as in `SampleStage.samples`."""
        owner = object()
        wanted = [replace(request, seed=seed) for seed in request.seeds]
        tasks = [asyncio.ensure_future(self._finite_sample(each, conditioning, prior, owner)) for each in wanted]
        try:
            outcomes = await asyncio.gather(*tasks)
            errors = [outcome for outcome in outcomes if isinstance(outcome, NonFiniteOutput)]
            if len(errors) == len(outcomes):
                raise errors[0]
            return [None if isinstance(outcome, NonFiniteOutput) else outcome for outcome in outcomes]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _finite_sample(
        self, request: MotionRequest, conditioning: Conditioning, prior: Prior | None, owner: object
    ) -> SamplingResult | NonFiniteOutput:
        """`_sample`, or the error of NaN and infinity, which does not end the other samples."""
        try:
            return await self._sample(request, conditioning, prior, owner)
        except NonFiniteOutput as error:
            log.warning("the sample of seed %d failed: %s", request.seed, error)
            return error

    async def _sample(
        self, request: MotionRequest, conditioning: Conditioning, prior: Prior | None, owner: object
    ) -> SamplingResult:
        """Generate features in a turn of the owner."""
        spec = chosen(await self.models(), request.model)
        # The lease comes first: requests that wait for a generator that is being reloaded hold up no others.
        async with self._leases.hold(spec.name), self._turns.turn(owner):
            spec = (await self.models()).get(spec.name, spec)  # it may have been reloaded meanwhile
            made = await self._generator(spec)
            cache = self._cache.revision(0 if self._seen is None else self._seen.revision)
            wanted = _generation(request, prior)
            quick = request.start is None and request.leader is None and not request.constraints
            try:
                trajectory = await run_in_thread_unless_fast(quick, _begin, made, wanted, conditioning, cache)
            except NotForThisModel as error:
                able = await self._able(spec, wanted, conditioning)
                instead = f"models that can: {', '.join(able)}" if able else "no model that is served can"
                raise InvalidInput(error.field, f"{error.message}; {instead}") from error
            await self._executor.run(trajectory, spec)
        steps = self._executor.take_counts()
        features = trajectory.result()
        motion = representation(spec.representation)
        contacts = motion.contacts_of(features)
        features = in_default(features, motion)
        planned = trajectory.key_poses if isinstance(trajectory, PlansKeyPoses) else None
        return SamplingResult(features, spec.name, spec.fps, dict(trajectory.evaluated), steps, contacts, planned)

    async def warm_up(self) -> None:
        """Return when every served generator answers, from work that is going on or by a canary."""
        await self.canary(BUSY_S)

    async def canary(self, silence_s: float) -> None:
        """One row through every graph, unless the engine has answered anything in the last `silence_s` seconds.

        Raises:
            DeadlineExceeded, BackendUnavailable: no answer came in time.
        """
        if time.monotonic() - getattr(self._engine, "answered_at", -np.inf) < silence_s:
            return
        deadline = time.monotonic() + CANARY_S
        try:
            async with asyncio.timeout(CANARY_S):
                models = await self.models()
        except TimeoutError as error:
            raise DeadlineExceeded("the engine did not name its models in time") from error
        for spec in models.values():
            for graph in spec.graphs:
                await self._engine.infer(spec.key(graph.name), zeros(graph, 1), deadline=deadline)

    async def figures(self) -> StageFigures:
        """How useful the cache of rows is, and how often the Triton of this host was started again."""
        cache, served = self._cache, self._leases.served()
        caches = {"context": CacheFigures(cache.hits, cache.misses, cache.held_bytes)}
        return StageFigures(caches=caches, triton_restarts=0 if served is None else served.restarts)

    async def close(self) -> None:
        """Fail what is under way. The engine is closed by its owner."""
        await self._executor.close()

    async def _able(self, spec: GeneratorSpec, request: GenerationRequest, conditioning: Conditioning) -> list[str]:
        """Names of the other served generators of the same encoders that do what a request asks for."""
        encoders, able = _encoders(spec), []
        for name, other in (await self.models()).items():
            if name == spec.name or _encoders(other) != encoders:
                continue
            try:
                await run_in_thread_unless_fast(
                    False, _begin, await self._generator(other), request, conditioning, None
                )
            except InvalidInput:
                continue
            able.append(name)
        return able

    async def _generator(self, spec: GeneratorSpec) -> Generator:
        known = self._generators.get(spec.name)
        if known is not None and known.spec == spec:
            return known
        made = self._generators[spec.name] = generator(spec)
        if known is not None:
            await self._executor.release(spec.name)  # what is kept has the shapes of the old one
        return made

    async def _release_unused(self, served: Served) -> None:
        """Give back what is kept for generators that are served no longer, once their requests have ended."""
        for name in [n for n in self._generators if n not in served.names and not self._leases.held(n)]:
            del self._generators[name]
            await self._executor.release(name)


def _begin(
    made: Generator, request: GenerationRequest, conditioning: Conditioning, cache: RowCache | None
) -> Trajectory:
    """A trajectory of a generator.

    Raises:
        NotForThisModel: as `Generator.begin`, or there is a leader, whom only some generators follow.
    """
    if request.leader is not None and not made.learns_couples:
        raise NotForThisModel("leader", f"cannot be followed by the model {made.spec.name}, which makes solos")
    return made.begin(request, conditioning, cache)


def _encoders(spec: GeneratorSpec) -> tuple[object, ...]:
    """What song and prompt are encoded by."""
    return spec.music_encoder, spec.music_dim, spec.text_encoder, spec.text_dim, spec.fps


def _generation(request: MotionRequest, prior: Prior | None) -> GenerationRequest:
    return GenerationRequest(
        num_steps=request.num_steps,
        sampler=request.sampler,
        guidance_scale=request.guidance_scale,
        text_guidance=request.text_guidance,
        music_guidance=request.music_guidance,
        guidance_interval=request.guidance_interval,
        seed=request.seed,
        start=request.start,
        constraints=request.constraints,
        leader=request.leader,
        leader_follows=request.leader_follows,
        prior=None if prior is None else prior.features,
        prior_mask=None if prior is None else prior.mask,
        deadline=time.monotonic() + (request.deadline - time.time()),
        weight=request.weight,
    )
