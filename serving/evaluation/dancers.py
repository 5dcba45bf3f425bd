"""Who dances in an evaluation: a checkpoint in this process, or a running server."""

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
from choreo.motion.formats.npz import read_npz
from choreo.motion.representation import decode
from choreo.motion.skeleton import FPS, WINDOW
from serving.evaluation.stretches import Positions, Stretch
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.request import Attachments, parse_fields, validated_request
from serving.settings import Settings
from serving.stages.local import LocalPipeline

PATIENCE_S: Final = 600.0
"""What a server may take for one dance; it is under nobody else's load, but it may be a small machine."""


@dataclass(frozen=True)
class DanceOptions:
    """How everything is danced.

    Attributes:
        preset: sampler, steps and guidance interval by name.
        num_steps: denoising steps; None: the preset's.
        guidance_scale: of classifier-free guidance.
        use_rag: whether dances begin from retrieved phrases.
        finished: whether smoothing, rigid bones and foot lock follow.
    """

    preset: str = "reference"
    num_steps: int | None = None
    guidance_scale: float = 2.5
    use_rag: bool = True
    finished: bool = True

    def fields(self, stretch: Stretch, seed: int) -> dict[str, Any]:
        """Fields of the request for one dance."""
        return {
            "text_prompt": stretch.prompt, "duration": WINDOW / FPS, "preset": self.preset, "seed": seed,
            "num_steps": self.num_steps, "timeout": PATIENCE_S,
            "guidance_scale": self.guidance_scale, "use_rag": self.use_rag, "smooth": self.finished,
            "bone_lengths": self.finished, "foot_lock": self.finished,
        }  # fmt: skip


@dataclass(frozen=True)
class Dance:
    """Positions (196, 22, 3), and those of the prior that they began from; None without one, or where it is unknown."""

    positions: Positions
    prior: Positions | None = None


class Dancer(Protocol):
    """Makes one dance."""

    async def dance(self, stretch: Stretch, options: DanceOptions, seed: int) -> Dance:
        """For the prompt and the music of a stretch.

        Raises:
            ChoreoError: the request was refused, or failed.
        """
        ...


class InProcess:
    """The whole pipeline in this process."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self._pipeline, self._settings = pipeline, settings

    async def dance(self, stretch: Stretch, options: DanceOptions, seed: int) -> Dance:
        """See `Dancer`."""
        job = validated_request(parse_fields(options.fields(stretch, seed)), Attachments(), self._settings)
        result = await self._pipeline.run(dataclasses.replace(job, features=stretch.music))
        prior = result.retrieved.prior
        before = None if prior is None else decode(prior.features).astype(np.float32)
        return Dance(np.asarray(result.motion.positions, np.float32), before)


class Server:
    """A running server, by its HTTP interface."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def dance(self, stretch: Stretch, options: DanceOptions, seed: int) -> Dance:
        """See `Dancer`."""
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
        return Dance(np.asarray(read_npz(answer.content).positions, np.float32))


@asynccontextmanager
async def in_process(checkpoint: Path, phrases: Path | None, settings: Settings) -> AsyncIterator[InProcess]:
    """A dancer of a checkpoint, exported to a folder that goes away with it unless it is the shipped one.

    Raises:
        MissingDependency, InvalidArtifact: no usable checkpoint.
    """
    async with LocalPipeline(settings, [checkpoint], phrases) as pipeline:
        yield InProcess(pipeline, settings)


@asynccontextmanager
async def untrained(checkpoint: Path, phrases: Path | None, settings: Settings) -> AsyncIterator[InProcess]:
    """A dancer of the same architecture with the weights that training starts from."""
    with tempfile.TemporaryDirectory(prefix="choreo-untrained-") as scratch:
        torch.manual_seed(0)
        trained = load_generator(checkpoint)
        blank = generator_class(trained.spec.family).untrained(trained)
        save_generator(Path(scratch), trained.config, blank.state_dict())
        async with in_process(Path(scratch), phrases, settings) as dancer:
            yield dancer


@asynccontextmanager
async def server(url: str) -> AsyncIterator[Server]:
    """A dancer behind `http://host:port`.

    Raises:
        InvalidInput: not an http address.
    """
    if not url.startswith(("http://", "https://")):
        raise InvalidInput("url", f"must begin with http:// or https://, got {url[:80]!r}")
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as client:
        yield Server(client)
