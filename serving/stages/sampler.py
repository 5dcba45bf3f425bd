"""The sampling stage: a request becomes a trajectory, which an executor takes through the denoiser."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from choreo.diffusion.samplers import sampler
from choreo.diffusion.trajectory import OVERLAP, Plan, Trajectory
from choreo.diffusion.windows import timeline_length, window_starts
from choreo.errors import InvalidInput
from choreo.generators.spec import ModelSpec
from choreo.motion.clip import Motion
from choreo.motion.representation import ROOT_VELOCITY, encode
from choreo.motion.resample import resample
from choreo.motion.retarget import refit
from choreo.postprocess.inertialization import carried_over
from serving.engines.base import Engine
from serving.engines.tensors import Tensors
from serving.pipeline.contracts import Conditioning, Prior, SamplingResult
from serving.pipeline.request import MotionRequest
from serving.sampling.executors import Executor, MakeExecutor, requests
from serving.stages.context_cache import ContextCache, row_key
from serving.stages.encoder import window_music
from serving.util.threads import run_in_thread_unless_fast


class Sampler:
    """Runs reverse processes through one engine.

    Args:
        engine: that evaluates both graphs.
        make_executor: of what takes trajectories through its denoiser; `serving.sampling.executors.executor` gives one.
        cache: of context rows.
    """

    def __init__(
        self,
        engine: Engine,
        make_executor: MakeExecutor = requests,
        cache: ContextCache | None = None,
    ) -> None:
        self._engine, self._make_executor = engine, make_executor
        self._cache = ContextCache(0) if cache is None else cache
        self._executors: dict[str, Executor] = {}

    async def sample(self, job: MotionRequest, conditioning: Conditioning, prior: Prior | None) -> SamplingResult:
        """Denoise one request.

        Raises:
            DeadlineExceeded: the job's deadline passed; no further step was started.
            BackendUnavailable, NonFiniteOutput: from the engine.
        """
        spec = await self.spec(job.model)
        plan = _plan(job)
        trajectory, computed = await self._prepare(job, plan, conditioning, prior, spec)
        await (await self._executor(spec)).run(trajectory)
        rows = {"conditioner": computed, "denoiser": trajectory.evaluated}
        known, mask = trajectory.timelines["known"], trajectory.timelines["known_mask"]
        held = np.where(mask > 0, known, trajectory.x)[: conditioning.num_frames]
        features = carried_over(held, int(mask.any(axis=1).sum()))
        return SamplingResult(spec.denormalize(features).astype(np.float32), spec.name, rows)

    async def _executor(self, spec: ModelSpec) -> Executor:
        if spec.name not in self._executors:
            made = await self._make_executor(self._engine, spec)
            self._executors.setdefault(spec.name, made)  # another request may have been here meanwhile
        return self._executors[spec.name]

    async def spec(self, model: str | None) -> ModelSpec:
        """Contract of a served model.

        Raises:
            InvalidInput: no model of that name is served.
        """
        specs = await self._engine.specs()
        if model is None:
            return next(iter(specs.values()))
        if model not in specs:
            raise InvalidInput("model", f"must be one of {', '.join(sorted(specs))}, got {model!r}")
        return specs[model]

    async def close(self) -> None:
        """Fail what is in flight. The engine is closed by whoever made it."""
        for running in self._executors.values():
            await running.close()

    async def _prepare(
        self, job: MotionRequest, plan: Plan, conditioning: Conditioning, prior: Prior | None, spec: ModelSpec
    ) -> tuple[Trajectory, int]:
        """The trajectory, and the rows of the conditioner that were computed for it."""
        starts = window_starts(conditioning.num_frames, spec.window, OVERLAP)
        length = timeline_length(starts, spec.window)
        known, known_mask = await run_in_thread_unless_fast(job.start is None, _known_frames, job.start, length, spec)
        context, computed = await self._context(conditioning, starts, spec, plan)
        timelines = {"prior": _normalized_prior(prior, length, spec), "rhythm": _extended(conditioning.rhythm, length)}
        timelines |= {"known": known, "known_mask": known_mask}
        return Trajectory(spec, plan, starts, context, timelines), computed

    async def _context(
        self, conditioning: Conditioning, starts: Sequence[int], spec: ModelSpec, plan: Plan
    ) -> tuple[Tensors, int]:
        """Context rows, one per window and a null row for all unconditional ones, and how many had to be computed."""
        inputs = _conditioner_inputs(conditioning, starts, spec)
        keys = [row_key(inputs, row, spec.name) for row in range(len(starts) + 1)]
        wanted = dict.fromkeys(keys if plan.guidance_scale != 1.0 else keys[:-1])
        found = {key: row for key in wanted if (row := self._cache.get(key)) is not None}
        missing = {key: keys.index(key) for key in wanted if key not in found}
        if missing:
            rows = list(missing.values())
            deadline = None if plan.deadline == float("inf") else plan.deadline
            out = await self._engine.infer(
                "conditioner", {name: values[rows] for name, values in inputs.items()}, deadline=deadline
            )
            for at, key in enumerate(missing):
                found[key] = {name: values[at].copy() for name, values in out.items()}
                self._cache.put(key, found[key])
        used = [found[key] for key in keys if key in found]
        return {name: np.stack([row[name] for row in used]) for name in used[0]}, len(missing)


def _plan(job: MotionRequest) -> Plan:
    return Plan(
        method=sampler(job.sampler),
        num_steps=job.num_steps,
        guidance_scale=job.guidance_scale,
        guidance_interval=job.guidance_interval,
        seed=job.seed,
        deadline=time.monotonic() + (job.deadline - time.time()),
        weight=job.priority.weight,
    )


def _conditioner_inputs(conditioning: Conditioning, starts: Sequence[int], spec: ModelSpec) -> Tensors:
    """Inputs of a row per window and of the null row, which hears and reads nothing."""
    windows = [window_music(conditioning, start, spec) for start in starts]
    count = len(starts)
    text = np.zeros(spec.text_dim, np.float32) if conditioning.text is None else conditioning.text
    inputs = {
        "music": np.stack([music for music, _ in windows]),
        "music_mask": np.stack([mask for _, mask in windows]),
        "text": np.tile(text, (count, 1)),
        "has_music": np.full((count, 1), conditioning.music is not None, np.float32),
        "has_text": np.full((count, 1), conditioning.text is not None, np.float32),
    }
    # A window that starts after the song has ended hears nothing.
    silent = inputs["music_mask"].sum(axis=1) == 0
    inputs["has_music"][silent], inputs["music_mask"][silent] = 0, 1
    null = {name: np.zeros_like(values[:1]) for name, values in inputs.items()}
    null["music_mask"] = np.ones_like(inputs["music_mask"][:1])
    return {name: np.concatenate([values, null[name]]) for name, values in inputs.items()}


def _extended(values: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    out = np.zeros((length, values.shape[1]), np.float32)
    out[: len(values)] = values[:length]
    return out


def _normalized_prior(prior: Prior | None, length: int, spec: ModelSpec) -> NDArray[np.float32]:
    out = np.zeros((length, spec.channels + 1), np.float32)
    if prior is not None:
        count = min(len(prior.features), length)
        mask = prior.mask[:count, None]
        out[:count, :-1] = spec.normalize(prior.features[:count]) * mask
        out[:count, -1:] = mask
    return out


def _known_frames(
    start: Motion | None, length: int, spec: ModelSpec
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Starting frames in the network's units and their mask, both (length, C). Its first velocity is not known."""
    known = np.zeros((length, spec.channels), np.float32)
    mask = np.zeros_like(known)
    if start is None:
        return known, mask
    positions = refit(resample(start.positions, start.fps, spec.fps))
    features, _ = encode(positions, spec.fps)
    count = min(len(features), length)
    known[:count] = spec.normalize(features[:count])
    mask[:count] = 1
    mask[0, ROOT_VELOCITY] = 0
    return known * mask, mask
