"""The sampling stage: one trajectory per request, denoised step by step through an engine.

A request of any length is one timeline in the song's own frame. At every step its windows, conditional and
unconditional rows together, go through the denoiser in one call; the predictions are guided and blended into one x0
and the update is made on the timeline. Windows therefore agree in their overlap at every step.
"""

import asyncio
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from choreo.diffusion.guidance import guide
from choreo.diffusion.noise import INITIAL, gaussian
from choreo.diffusion.samplers import sampler
from choreo.diffusion.schedule import NoiseSchedule, timestep_pairs
from choreo.errors import DeadlineExceeded, InvalidInput
from choreo.models.spec import ModelSpec
from choreo.motion.clip import Motion
from choreo.motion.representation import ROOT_VELOCITY, encode
from choreo.motion.resample import resample
from choreo.motion.retarget import refit
from choreo.postprocess.inertialization import carried_over
from serving.encoder import window_music
from serving.engine import Engine
from serving.request import Job
from serving.stages import Conditioning, Prior, Sampled
from serving.windows import blend, cut, timeline_length, window_starts

OVERLAP = 64
"""Frames that neighbouring windows share."""

Rows = dict[str, NDArray[np.float32]]


@dataclass
class Trajectory:
    """One request in flight: everything that is constant over its steps."""

    spec: ModelSpec
    starts: list[int]
    constant: Rows
    known: NDArray[np.float32]
    known_mask: NDArray[np.float32]
    guidance_scale: float

    @property
    def length(self) -> int:
        """Frames of the timeline, the last window's end."""
        return timeline_length(self.starts, self.spec.window)

    @property
    def guided(self) -> bool:
        """Whether unconditional rows ride along; at a scale of 1 they would not change the result."""
        return self.guidance_scale != 1.0


class Sampler:
    """Runs reverse processes through one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def sample(self, job: Job, conditioning: Conditioning, prior: Prior | None) -> Sampled:
        """Denoise one request.

        Raises:
            DeadlineExceeded: the job's deadline passed; no further step was started.
            BackendUnavailable, NonFiniteOutput: from the engine.
        """
        spec = await self.spec(job.model)
        deadline = time.monotonic() + (job.deadline - time.time())
        trajectory = await self._prepare(job, conditioning, prior, spec, deadline)
        rows = {"conditioner": len(trajectory.starts) + trajectory.guided, "denoiser": 0}
        method = sampler(job.sampler)
        schedule = NoiseSchedule.make(spec.schedule, spec.num_train_timesteps)
        x = gaussian(job.seed, 0, trajectory.length, spec.channels, INITIAL)
        for index, (t, t_prev) in enumerate(timestep_pairs(job.num_steps, spec.num_train_timesteps)):
            if time.monotonic() > deadline:
                raise DeadlineExceeded(f"the deadline passed at step {index} of {job.num_steps}")
            output, sent = await self._denoise(trajectory, x, int(t), deadline)
            rows["denoiser"] += sent
            now, prev = np.array([t]), np.array([t_prev])
            x0 = schedule.predicted_x0(output[None], x[None], now, spec.prediction)
            noise = gaussian(job.seed, 0, trajectory.length, spec.channels, index)[None] if method.stochastic else None
            x = method.step(schedule, x[None], x0, now, prev, noise)[0]
        held = np.where(trajectory.known_mask > 0, trajectory.known, x)[: conditioning.num_frames]
        features = carried_over(held, int(trajectory.known_mask.any(axis=1).sum()))
        return Sampled(spec.denormalize(features).astype(np.float32), spec.name, rows)

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

    async def _prepare(
        self, job: Job, conditioning: Conditioning, prior: Prior | None, spec: ModelSpec, deadline: float
    ) -> Trajectory:
        starts = window_starts(conditioning.num_frames, spec.window, OVERLAP)
        length = timeline_length(starts, spec.window)
        known, known_mask = await asyncio.to_thread(_known_frames, job.start, length, spec)
        guided = job.guidance_scale != 1.0
        context = await self._context(conditioning, starts, spec, guided, deadline)
        rhythm = _extended(conditioning.rhythm, length)
        timeline = {"prior": _normalized_prior(prior, length, spec), "rhythm": rhythm}
        timeline |= {"known": known, "known_mask": known_mask}
        rows = {name: cut(values, starts, spec.window) for name, values in timeline.items()}
        if guided:
            null = {name: values if name.startswith("known") else values * 0 for name, values in rows.items()}
            rows = {name: np.concatenate([values, null[name]]) for name, values in rows.items()}
        rows["frame_mask"] = np.ones((len(rows["prior"]), spec.window), np.float32)
        return Trajectory(spec, starts, context | rows, known, known_mask, job.guidance_scale)

    async def _context(
        self, conditioning: Conditioning, starts: list[int], spec: ModelSpec, guided: bool, deadline: float
    ) -> Rows:
        """Context of every row, computed once: a row per window, and one null row shared by all unconditional rows."""
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
        if guided:
            null = {name: np.zeros_like(values[:1]) for name, values in inputs.items()} | {
                "music_mask": np.ones_like(inputs["music_mask"][:1])
            }
            inputs = {name: np.concatenate([values, null[name]]) for name, values in inputs.items()}
        out = await self._engine.infer("conditioner", inputs, deadline=deadline)
        if not guided:
            return out
        return {name: np.concatenate([v[:count], np.repeat(v[count:], count, axis=0)]) for name, v in out.items()}

    async def _denoise(
        self, trajectory: Trajectory, x: NDArray[np.float32], t: int, deadline: float
    ) -> tuple[NDArray[np.float32], int]:
        """One evaluation of every row; returns the guided, blended prediction on the timeline and the rows sent."""
        spec = trajectory.spec
        windows = cut(x, trajectory.starts, spec.window)
        if trajectory.guided:
            windows = np.concatenate([windows, windows])
        inputs = trajectory.constant | {"x": windows, "t": np.full((len(windows), 1), t, np.float32)}
        out = (await self._engine.infer("denoiser", inputs, deadline=deadline))[spec.prediction.value]
        if trajectory.guided:
            conditional, unconditional = np.split(out, 2)
            out = np.asarray(guide(conditional, unconditional, trajectory.guidance_scale), np.float32)
        return blend(out, trajectory.starts, OVERLAP), len(windows)


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
