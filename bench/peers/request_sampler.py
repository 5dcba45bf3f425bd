"""Sampling of whole requests: a batch stays together from the first step to the last.

This is what a server with request-level batching does, and, with one request at a time, the documents' server.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.peers.graphs import Graphs
from choreo.diffusion.guidance import guide
from choreo.diffusion.noise import INITIAL, gaussian
from choreo.diffusion.samplers import sampler
from choreo.diffusion.schedule import NoiseSchedule
from choreo.errors import InvalidInput
from choreo.motion.formats.npz import npz_bytes
from choreo.text.encoders import text_encoder
from serving.engines.tensors import Tensors
from serving.pipeline.contracts import SamplingResult
from serving.pipeline.request import Attachments, MotionRequest, parse_fields, validated_request
from serving.sampling.step_buffer import denoiser_inputs
from serving.settings import Settings
from serving.stages.finisher import finish_motion

Array = NDArray[np.floating]


class RequestSampler:
    """Samples motion for prompts, a batch of requests at a time. The text encoder stays loaded; nothing is cached.

    Args:
        graphs: what evaluates the rows.
        joined: whether a step evaluates conditional and unconditional rows in one call instead of two.
    """

    def __init__(self, graphs: Graphs, joined: bool) -> None:
        self._graphs, self._joined = graphs, joined
        self._settings = Settings()
        self._schedule = NoiseSchedule.make(graphs.spec.schedule, graphs.spec.num_train_timesteps)
        self._encoder = text_encoder(graphs.spec.text_encoder)
        self._encoder.encode(["dance"])

    def job(self, values: dict[str, object]) -> MotionRequest:
        """The request of a JSON body.

        Raises:
            InvalidInput: a field is wrong, or the request is not a prompt for one window of DDIM.
        """
        job = validated_request(parse_fields(values), Attachments(), self._settings)
        if job.text is None or job.sampler != "ddim" or (job.num_frames or 0) > self._graphs.spec.window:
            raise InvalidInput("text_prompt", "peers take prompts only, for one window, sampled by ddim")
        return job

    def generate(self, jobs: Sequence[MotionRequest]) -> list[bytes]:
        """Motion as NPZ for each request; all must have the same number of steps. Blocking.

        Raises:
            InvalidInput: the numbers of steps differ.
        """
        spec, steps = self._graphs.spec, jobs[0].num_steps
        if any(job.num_steps != steps for job in jobs):
            raise InvalidInput("num_steps", "must be equal in one batch")
        x = self._denoise(jobs, steps)
        rows = {"conditioner": 2, "denoiser": 2 * steps}
        answers = []
        for job, values in zip(jobs, x, strict=True):
            features = spec.denormalize(values[: job.num_frames or spec.window]).astype(np.float32)
            motion, _ = finish_motion(job, SamplingResult(features, spec.name, rows), spec.fps, {"rows": rows})
            answers.append(npz_bytes(motion))
        return answers

    def _denoise(self, jobs: Sequence[MotionRequest], steps: int) -> Array:
        """Timelines (requests, window, C) in the network's units."""
        spec, count, method = self._graphs.spec, len(jobs), sampler("ddim")
        inputs = self._inputs(jobs)
        scales = np.array([job.guidance_scale for job in jobs], np.float32)
        x: Array = np.stack([gaussian(job.seed, 0, spec.window, spec.channels, INITIAL) for job in jobs])
        for pair in method.timesteps(self._schedule, steps):
            inputs["x"][:count] = inputs["x"][count:] = x
            inputs["t"][:] = pair[0]
            output = self._evaluate(inputs, count)
            t, t_prev = np.tile(pair, (count, 1)).T
            guided = guide(output[:count], output[count:], scales)
            x = method.step(self._schedule, x, self._schedule.predicted_x0(guided, x, t, spec.prediction), t, t_prev)
        return x

    def _evaluate(self, inputs: Tensors, count: int) -> Array:
        """Predictions (2 * requests, window, C), the conditional ones first."""
        name = self._graphs.spec.prediction.value
        if self._joined:
            return self._graphs.run("denoiser", inputs)[name]
        halves = ({key: v[:count] for key, v in inputs.items()}, {key: v[count:] for key, v in inputs.items()})
        return np.concatenate([self._graphs.run("denoiser", half)[name] for half in halves])

    def _inputs(self, jobs: Sequence[MotionRequest]) -> Tensors:
        """Inputs of the denoiser for a conditional and an unconditional row per request, without x and t."""
        spec, count = self._graphs.spec, len(jobs)
        asked = {name: np.zeros((2 * count, *dims), np.float32) for name, dims in spec.conditioner_inputs().items()}
        asked["text"][:count] = self._encoder.encode([job.text or "" for job in jobs])
        asked["has_text"][:count] = 1
        asked["music_mask"][:] = 1
        inputs = denoiser_inputs(spec, 2 * count)
        inputs["frame_mask"][:] = 1
        return inputs | self._graphs.run("conditioner", asked)
