"""Sampling of whole requests: a batch stays together from the first step to the last.

This is what a server with request-level batching does, and, with one request at a time, the documents' server.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from choreo.errors import InvalidInput
from choreo.generators.base import Conditioning, Evaluate, GenerationRequest, Tensors, run, zeros
from choreo.generators.registry import generator
from choreo.generators.spec import GeneratorSpec
from choreo.motion.formats.npz import npz_bytes
from choreo.motion.representation import in_default, representation
from choreo.text.encoders import text_encoder
from export.engine_options import EngineOptions
from export.repository import read_configs, read_spec, served
from export.sessions import open_session
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments, MotionRequest
from serving.pipeline.results import SamplingResult
from serving.pipeline.validation import validated_request
from serving.settings import Settings
from serving.stages.finisher import finish_request

MAX_REQUESTS: Final = 16
"""Largest batch: 32 rows a step, as many as a step batch of this program."""
WAIT_S: Final = 0.05
"""How long a batch waits for further requests."""


class Graphs(Protocol):
    """Evaluates the graphs of one generator; blocking."""

    @property
    def spec(self) -> GeneratorSpec:
        """The contract."""
        ...

    def evaluate(self, graph: str, inputs: Tensors) -> Tensors:
        """Outputs of a graph for rows of inputs."""
        ...


class OnnxGraphs:
    """Graphs of a repository's default generator in the engine that Triton's backend uses, on all cores."""

    def __init__(self, repository: Path) -> None:
        self.spec = read_spec(repository, served(repository)[0])
        configs = read_configs(repository)
        self._sessions = {}
        for graph in self.spec.graphs:
            key = self.spec.key(graph.name)
            # One call at a time on all cores, as callers run nothing else meanwhile.
            alone = {"instances": "1", "intra_op_threads": "0"}
            options = EngineOptions.from_parameters(configs[key].parameters | alone)
            self._sessions[graph.name] = open_session(repository / key / "1" / "model.onnx", options)

    def evaluate(self, graph: str, inputs: Tensors) -> Tensors:
        """Outputs of a graph for rows of inputs."""
        names = list(self.spec.graph(graph).output_shapes)
        return dict(zip(names, self._sessions[graph].run(names, inputs), strict=True))


class RequestSampler:
    """Samples motion for prompts, a batch of requests at a time. The text encoder stays loaded; nothing is cached.

    Args:
        graphs: what evaluates the rows.
        joined: whether all rows of a step are evaluated in one call, instead of a call for each.
    """

    def __init__(self, graphs: Graphs, joined: bool) -> None:
        self._spec, self._generator = graphs.spec, generator(graphs.spec)
        self._evaluate = graphs.evaluate if joined else _row_by_row(graphs.evaluate)
        self._settings = Settings()
        self._encoder = text_encoder(self._spec.text_encoder)
        self._encoder.encode(["dance"])

    def job(self, values: dict[str, object]) -> MotionRequest:
        """The request of a JSON body.

        Raises:
            InvalidInput: a field is wrong, or the request is not a prompt for one window of DDIM.
        """
        job = validated_request(parse_fields(values), Attachments(), self._settings)
        if job.text is None or job.sampler != "ddim" or (job.num_frames or 0) > self._spec.window:
            raise InvalidInput("text_prompt", "peers take prompts only, for one window, sampled by ddim")
        return job

    def generate(self, jobs: Sequence[MotionRequest]) -> list[bytes]:
        """Motion as NPZ for each request; all must have the same number of steps. Blocking.

        Raises:
            InvalidInput: the numbers of steps differ.
        """
        spec = self._spec
        if len({job.num_steps for job in jobs}) > 1:
            raise InvalidInput("num_steps", "must be equal in one batch")
        texts = self._encoder.encode([job.text or "" for job in jobs])
        trajectories = [
            self._generator.begin(_wanted(job), Conditioning(job.num_frames or spec.window, text=text))
            for job, text in zip(jobs, texts, strict=True)
        ]
        run(trajectories, self._evaluate, lambda graph, rows: zeros(spec.graph(graph), rows))
        answers = []
        for job, trajectory in zip(jobs, trajectories, strict=True):
            rows = dict(trajectory.evaluated)
            features = in_default(trajectory.result(), representation(spec.representation))
            sampled = SamplingResult(features, spec.name, spec.fps, rows)
            answers.append(npz_bytes(finish_request(job, sampled, {"rows": rows})[0]))
        return answers


def _wanted(job: MotionRequest) -> GenerationRequest:
    return GenerationRequest(
        num_steps=job.num_steps,
        sampler=job.sampler,
        guidance_scale=job.guidance_scale,
        guidance_interval=job.guidance_interval,
        seed=job.seed,
    )


def _row_by_row(evaluate: Evaluate) -> Evaluate:
    """Calls of one row each."""

    def evaluated(graph: str, inputs: Tensors) -> Tensors:
        count = len(next(iter(inputs.values())))
        rows = [evaluate(graph, {name: v[at : at + 1] for name, v in inputs.items()}) for at in range(count)]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    return evaluated
