"""What generates the dances of an evaluation: a checkpoint in this process, or a running server."""

import base64
import dataclasses
import io
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
import numpy as np
import torch

from choreo.errors import BackendUnavailable, InvalidInput
from choreo.generators.checkpoint import load_generator, save_generator
from choreo.generators.registry import generator_class
from choreo.motion.formats.npz import read_performance
from choreo.motion.performance import Performance
from choreo.motion.representation import decode
from choreo.motion.skeleton import FPS, WINDOW
from serving.evaluation.stretches import Positions, Stretch
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.request import Attachments, parse_fields, validated_request
from serving.settings import Settings
from serving.stages.local import LocalPipeline

DANCE_TIMEOUT_S: Final = 600.0
"""Longest time that a server may take for one dance: generous, because it may be a small machine."""


@dataclass(frozen=True)
class DanceOptions:
    """Settings shared by all dances of an evaluation.

    Attributes:
        preset: name of a sampler with steps and guidance interval.
        num_steps: denoising steps; None: the preset's.
        guidance_scale: of classifier-free guidance.
        use_rag: whether generation starts from retrieved phrases.
        finished: whether smoothing, the rigid fit and the foot lock are applied.
    """

    preset: str = "reference"
    num_steps: int | None = None
    guidance_scale: float = 2.5
    use_rag: bool = True
    finished: bool = True

    def fields(self, stretch: Stretch, seed: int) -> dict[str, Any]:
        """Request fields for the dance to a stretch."""
        return {
            "text_prompt": stretch.prompt, "duration": WINDOW / FPS, "preset": self.preset, "seed": seed,
            "num_steps": self.num_steps, "timeout": DANCE_TIMEOUT_S,
            "guidance_scale": self.guidance_scale, "use_rag": self.use_rag, "smooth": self.finished,
            "bone_lengths": self.finished, "foot_lock": self.finished,
        }  # fmt: skip


@dataclass(frozen=True)
class Dance:
    """A generated performance of 196 frames, and the positions (196, 22, 3) of its motion prior.

    The prior is None if there was none or if it is unknown, as with a server.
    """

    performance: Performance
    prior: Positions | None = None


class Dancer(Protocol):
    """Generates one dance at a time."""

    async def dance(self, stretch: Stretch, options: DanceOptions, seed: int) -> Dance:
        """Generate a dance to the prompt and the music of a stretch.

        Raises:
            ChoreoError: the request was refused or failed.
        """
        ...


class InProcess:
    """The whole pipeline in this process."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self._pipeline, self._settings = pipeline, settings

    async def dance(self, stretch: Stretch, options: DanceOptions, seed: int) -> Dance:
        """Generate a dance; its prior is known here.

        Raises:
            ChoreoError: the request was refused or failed.
        """
        job = validated_request(parse_fields(options.fields(stretch, seed)), Attachments(), self._settings)
        result = await self._pipeline.run(dataclasses.replace(job, features=stretch.music))
        prior = result.retrieved.prior
        before = None if prior is None else decode(prior.features).astype(np.float32)
        return Dance(Performance.of(result.motion), before)


class Server:
    """A running server, through its HTTP interface."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def dance(self, stretch: Stretch, options: DanceOptions, seed: int) -> Dance:
        """Generate a dance with one request.

        Raises:
            BackendUnavailable: the server does not answer, or answers with an error.
            InvalidInput: the answer is not motion.
        """
        fields = options.fields(stretch, seed) | {"format": "npz"}
        if stretch.music is not None:
            buffer = io.BytesIO()
            np.save(buffer, stretch.music)
            fields["features"] = base64.b64encode(buffer.getvalue()).decode()
        try:
            answer = await self._client.post("/v1/generate", json=fields)
        except httpx.HTTPError as error:
            raise BackendUnavailable(f"{self._client.base_url} does not answer: {error!r}") from error
        if answer.status_code != httpx.codes.OK:
            raise BackendUnavailable(f"{self._client.base_url} answered {answer.status_code}: {answer.text[:300]}")
        return Dance(read_performance(answer.content, "answer"))


@asynccontextmanager
async def in_process(checkpoint: Path, phrases: Path | None, settings: Settings) -> AsyncIterator[InProcess]:
    """Serve a checkpoint in this process; any but the shipped one is exported to a temporary folder.

    Raises:
        MissingDependency, InvalidArtifact: the checkpoint cannot be used.
    """
    async with LocalPipeline(settings, [checkpoint], phrases) as pipeline:
        yield InProcess(pipeline, settings)


@asynccontextmanager
async def untrained(checkpoint: Path, phrases: Path | None, settings: Settings) -> AsyncIterator[InProcess]:
    """Serve a checkpoint's architecture with the weights that training starts from.

    Raises:
        MissingDependency, InvalidArtifact: the checkpoint cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="choreo-untrained-") as scratch:
        torch.manual_seed(0)
        trained = load_generator(checkpoint)
        blank = generator_class(trained.spec.family).untrained(trained)
        save_generator(Path(scratch), trained.config, blank.state_dict())
        async with in_process(Path(scratch), phrases, settings) as dancer:
            yield dancer


@asynccontextmanager
async def server(url: str) -> AsyncIterator[Server]:
    """Use the server at `http://host:port`.

    Raises:
        InvalidInput: not an http or https address.
    """
    if not url.startswith(("http://", "https://")):
        raise InvalidInput("url", f"must begin with http:// or https://, got {url[:80]!r}")
    async with httpx.AsyncClient(base_url=url, timeout=DANCE_TIMEOUT_S) as client:
        yield Server(client)
