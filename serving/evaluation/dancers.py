"""What generates the dances of an evaluation: a checkpoint in this process, or a running server."""

import dataclasses
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch

from choreo.client import AsyncClient
from choreo.errors import BackendUnavailable
from choreo.generators.checkpoint import load_generator, save_generator
from choreo.generators.registry import generator_class
from choreo.motion.performance import Performance
from choreo.motion.representation import decode
from choreo.motion.skeleton import FPS, WINDOW
from serving.evaluation.stretches import Positions, Stretch
from serving.pipeline.fields import parse_fields
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
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
        text_guidance, music_guidance: separate scales, the latter only of dances to music; None: guidance_scale.
        use_rag: whether generation starts from retrieved phrases.
        finished: whether smoothing, the rigid fit, the foot lock and, on sure beats, the warp to them are applied.
        changes: request fields that differ from what the others give, by name.
    """

    preset: str = "reference"
    num_steps: int | None = None
    guidance_scale: float = 2.5
    use_rag: bool = True
    finished: bool = True
    text_guidance: float | None = None
    music_guidance: float | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)

    def fields(self, stretch: Stretch, seed: int) -> dict[str, Any]:
        """Request fields for the dance to a stretch."""
        return {
            "text_prompt": stretch.prompt, "duration": WINDOW / FPS, "preset": self.preset, "seed": seed,
            "num_steps": self.num_steps, "timeout": DANCE_TIMEOUT_S,
            "guidance_scale": self.guidance_scale, "use_rag": self.use_rag, "smooth": self.finished,
            "bone_lengths": self.finished, "foot_lock": self.finished,
            "on_beat": None if self.finished else False, "text_guidance": self.text_guidance,
            "music_guidance": None if stretch.music is None else self.music_guidance,
        } | dict(self.changes)  # fmt: skip


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
        fields = options.fields(stretch, seed)
        # The song, and what needs one, come after the checks: it is not read from a file.
        heard = {"features": stretch.music, "rhythm": stretch.rhythm, "music_guidance": fields.pop("music_guidance")}
        job = validated_request(parse_fields(fields), Attachments(), self._settings)
        result = await self._pipeline.run(dataclasses.replace(job, **heard))
        prior = result.retrieved.prior
        before = None if prior is None else decode(prior.features).astype(np.float32)
        return Dance(Performance.of(result.motion), before)


class Server:
    """A running server, through its HTTP interface."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def music_encoder(self) -> str:
        """Name of the music encoder of the generator that is used where a request names none.

        Raises:
            ChoreoError: the server does not answer, or its answer does not say.
        """
        default = next((model for model in await self._client.models() if model.default), None)
        if default is None or not default.music_encoder:
            raise BackendUnavailable(f"{self._client.url} does not say which music encoder it uses")
        return default.music_encoder

    async def dance(self, stretch: Stretch, options: DanceOptions, seed: int) -> Dance:
        """Generate a dance with one request.

        Raises:
            ChoreoError: the server does not answer, refuses the request, or answers with something else.
        """
        fields: Any = options.fields(stretch, seed)
        text, timeout_s = fields.pop("text_prompt"), fields.pop("timeout")
        if (rhythm := stretch.rhythm).beats is not None:
            fields["beats"] = list(rhythm.beats)
            fields["downbeats"] = None if rhythm.downbeats is None else list(rhythm.downbeats)
        dance = await self._client.generate(text, features=stretch.music, timeout_s=timeout_s, **fields)
        assert dance.performance is not None  # of an .npz
        return Dance(dance.performance)


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
    """Use the server at `http://host:port`; CHOREO_API_KEY has its key, if it wants one.

    Raises:
        InvalidInput: not an http or https address.
    """
    async with AsyncClient(url) as client:
        yield Server(client)
