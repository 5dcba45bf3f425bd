"""An ingress over stages that dance by standing still, or do what a test tells them, in this process."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic_phrases import WordEncoder, dance

from choreo.errors import NonFiniteOutput
from choreo.generators.base import Conditioning
from choreo.generators.spec import GeneratorSpec
from choreo.generators.unet.graphs import unet_spec
from choreo.motion.clip import Motion
from choreo.motion.formats.formats import Format, encode
from choreo.motion.formats.npz import npz_bytes
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.performance import Performance
from choreo.motion.skeleton import NUM_JOINTS, WINDOW
from choreo.music.song_beats import NO_BEATS, SongBeats
from retrieval.building.build import build_library
from serving.http.audio_url import AudioFetcher
from serving.http.ingress import create_app
from serving.pipeline.contracts import Stages
from serving.pipeline.encoded_request import EncodedRequest
from serving.pipeline.phrases import LibraryFacts, PhraseQuery, Prior, RetrievalResult, SearchResult
from serving.pipeline.request import MotionRequest
from serving.pipeline.results import MotionFile, SampleScore, SamplingResult
from serving.settings import Settings

SPEC = unet_spec("fake", context_dim=8, mean=(0.0,) * 66, std=(1.0,) * 66)

Action = Callable[[MotionRequest], Awaitable[None]]


async def nothing(request: MotionRequest) -> None:
    """The default action."""


@dataclass
class FakeStages:
    """Stages that dance by standing still.

    Attributes:
        action: awaited in the sampling stage.
        not_ready: raised by the canary.
        broken: whether finished motion holds a NaN.
        probes: how often the canary was asked for.
        requests: every request that reached a stage.
        rendered: (format, song, title) of every rendering.
        retrieved, found: answers of the retrieval stage.
        searches: (query, top_n) of every search.
    """

    action: Action = nothing
    not_ready: Exception | None = None
    broken: bool = False
    probes: int = 0
    requests: list[MotionRequest] = field(default_factory=list)
    rendered: list[tuple[Format, bytes | None, str]] = field(default_factory=list)
    retrieved: RetrievalResult = field(default_factory=lambda: RetrievalResult(None, "there is no phrase library"))
    found: SearchResult = field(default_factory=lambda: SearchResult([], None, "there is no phrase library"))
    searches: list[tuple[PhraseQuery, int]] = field(default_factory=list)

    def stages(self) -> Stages:
        """All four stages."""
        finisher = SimpleNamespace(
            finish=self.finish, score=self.score, deliver=self.deliver, warm_up=self.nothing_to_load
        )
        encoder = SimpleNamespace(encode=self.encode, warm_up=self.nothing_to_load)
        retriever = SimpleNamespace(
            retrieve=self.retrieve, search=self.search, library=self.library, warm_up=self.nothing_to_load
        )
        sampler = SimpleNamespace(models=self.models, sample=self.sample, samples=self.samples, warm_up=self.canary)
        return Stages(*(cast(Any, stage) for stage in (encoder, retriever, sampler, finisher)))

    async def nothing_to_load(self, spec: GeneratorSpec | None = None) -> None:
        pass

    async def models(self) -> dict[str, GeneratorSpec]:
        return {SPEC.name: SPEC}

    async def encode(self, request: MotionRequest, spec: GeneratorSpec) -> EncodedRequest:
        self.requests.append(request)
        return EncodedRequest(Conditioning(request.num_frames or WINDOW))

    async def retrieve(self, query: PhraseQuery) -> RetrievalResult:
        return self.retrieved

    async def search(self, query: PhraseQuery, top_n: int) -> SearchResult:
        self.searches.append((query, top_n))
        return self.found

    async def library(self) -> LibraryFacts | None:
        return self.found.library

    async def sample(self, request: MotionRequest, conditioning: Conditioning, prior: Prior | None) -> SamplingResult:
        await self.action(request)
        features = np.zeros((conditioning.num_frames, 66), np.float32)
        return SamplingResult(features, SPEC.name, SPEC.fps, {"conditioner": 2, "denoiser": 2 * request.num_steps})

    async def samples(
        self, request: MotionRequest, conditioning: Conditioning, prior: Prior | None
    ) -> list[SamplingResult | None]:
        made: list[SamplingResult | None] = []
        for seed in request.seeds:
            try:
                made.append(await self.sample(replace(request, seed=seed), conditioning, prior))
            except NonFiniteOutput as error:
                made.append(None)
                failed = error
        if not any(made):
            raise failed
        return made

    async def finish(
        self, request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any], beats: SongBeats = NO_BEATS
    ) -> tuple[Performance, NDArray[np.float32]]:
        frames = len(sampled.features)
        rotations = np.tile(np.eye(3), (frames, NUM_JOINTS, 1, 1))
        positions = forward_kinematics(np.tile([0, 0.95, 0], (frames, 1)), rotations).astype(np.float32)
        motion = Motion(positions.copy(), 30, rotations.astype(np.float32), meta | {"fit_residual": 0.0})
        if self.broken:
            motion.positions[0, 0, 0] = np.nan
        return Performance.solo(motion), positions[None]

    async def score(
        self, request: MotionRequest, samples: Sequence[SamplingResult | None], beats: SongBeats = NO_BEATS
    ) -> list[SampleScore | None]:
        """The last one is the best."""
        best = max(i for i, sample in enumerate(samples) if sample is not None)
        return [
            None if sample is None else SampleScore(seed, 0.5, 0.0, None, 1.0, float(i), chosen=i == best)
            for i, (seed, sample) in enumerate(zip(request.seeds, samples, strict=True))
        ]

    async def deliver(
        self, request: MotionRequest, sampled: SamplingResult, meta: dict[str, Any], beats: SongBeats = NO_BEATS
    ) -> MotionFile:
        if "seconds" in meta:
            meta = meta | {"seconds": meta["seconds"] | {"finish": 0.0}}
        performance, _ = await self.finish(request, sampled, meta)
        self.rendered.append((request.format, request.audio, request.text or ""))
        body = b"film" if request.format is Format.MP4 else await asyncio.to_thread(encode, performance, request.format)
        return MotionFile(body, {"finish": 0.0, "render": 0.0})

    async def canary(self) -> None:
        self.probes += 1
        await asyncio.sleep(0)
        if self.not_ready is not None:
            raise self.not_ready


@dataclass(frozen=True)
class Ingress:
    """A fresh ingress over the stages for every connection or question."""

    stages: FakeStages

    def connect(self, fetcher: AudioFetcher | None = None, proxied: bool = False, **settings: Any) -> httpx.AsyncClient:
        """A client of the ingress."""
        app = create_app(Settings(**settings), self.stages.stages(), fetcher, proxied)
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://choreo.test", timeout=30)

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        """One request; settings of the ingress are given as `settings={...}`."""
        settings = given.pop("settings", {})

        async def run() -> httpx.Response:
            async with self.connect(**settings) as client:
                return await client.request(method, path, **given)

        return asyncio.run(run())

    def generate(self, values: dict[str, Any], **given: Any) -> httpx.Response:
        """`POST /v1/generate` in JSON."""
        return self.ask("POST", "/v1/generate", json=values, **given)

    def raw(self, body: bytes, content_type: str = "application/json", **given: Any) -> httpx.Response:
        """`POST /v1/generate` with any body."""
        return self.ask("POST", "/v1/generate", content=body, headers={"Content-Type": content_type}, **given)

    def form(self, fields: dict[str, Any], files: dict[str, Any] | None = None) -> httpx.Response:
        """`POST /v1/generate` as a form."""
        parts = [(name, (None, str(value))) for name, value in fields.items()] + list((files or {}).items())
        return self.ask("POST", "/v1/generate", files=parts)


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two different phrase libraries; tests that change one must copy it first."""
    folder = tmp_path_factory.mktemp("phrases")
    moves = {"first": ("bounce", "kick", "sway", "walk"), "second": ("turn", "side_step", "kick")}
    for name, chosen in moves.items():
        build_library([dance(move, 120.0) for move in chosen], folder / name, WordEncoder())
    return folder / "first", folder / "second"


@pytest.fixture
def stages() -> FakeStages:
    return FakeStages()


@pytest.fixture
def ingress(stages: FakeStages) -> Ingress:
    return Ingress(stages)


@pytest.fixture
def check_problem() -> Callable[..., dict[str, Any]]:
    """Checks that an answer is a problem document of a status that blames a field, and returns it."""

    def check(response: httpx.Response, status: int, field: str | None = None) -> dict[str, Any]:
        assert response.status_code == status, response.text[:500]
        assert response.headers["content-type"] == "application/problem+json"
        document: dict[str, Any] = response.json()
        assert document["status"] == status
        assert document["instance"] == response.headers["x-request-id"]
        assert document.get("field") == field, document
        return document

    return check


@pytest.fixture
def standing() -> Callable[[int], bytes]:
    """Makes an .npz of some frames of standing."""

    def make(frames: int) -> bytes:
        positions = np.zeros((frames, NUM_JOINTS, 3), np.float32)
        positions[:, :, 1] = np.linspace(0, 1.7, NUM_JOINTS)
        return npz_bytes(Motion(positions))

    return make


@pytest.fixture
def npy() -> Callable[[Any], bytes]:
    """Makes an .npy of an array."""

    def make(array: Any) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, array)
        return buffer.getvalue()

    return make
