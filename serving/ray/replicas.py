"""The four deployments behind the ingress. They know nothing of Ray; `serving.ray.app` makes deployments of them.

Errors of ours are returned, not raised: Ray would wrap them, and log a traceback for every wrong request.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from choreo.errors import ChoreoError, DeadlineExceeded
from choreo.generators.spec import ModelSpec
from choreo.motion.clip import Motion
from choreo.motion.formats.formats import Format
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
from serving.settings import Settings
from serving.util.threads import Threads

if TYPE_CHECKING:  # gRPC and ONNX are loaded by the one replica that needs them
    from export.repository import GraphName
    from serving.engines.shared_region import SharedRegion
    from serving.engines.triton import TritonEngine

T = TypeVar("T")

CANARY_S = 5.0
"""Longest time that a canary inference may take."""
BUSY_S = 2.0
"""An answer to real work that is no older makes a canary needless, which would have to wait behind that work."""
IDLE_S = 60.0
"""The same for Ray's checks of a replica: replacing the replica does not mend Triton, so they need not be quick."""


@dataclass(frozen=True)
class Failed:
    """An error on its way back to the caller."""

    error: ChoreoError


async def outcome(work: Awaitable[T]) -> T | Failed:
    """The result of the work, or the error of ours that it ended with."""
    try:
        return await work
    except ChoreoError as error:
        return Failed(error)


class EncoderReplica:
    """Decodes and encodes songs and prompts."""

    def __init__(self, settings: Settings) -> None:
        from serving.stages.encoder import Encoder

        self._encoder = Encoder(settings)
        self._threads = Threads(4)

    async def encode(self, job: MotionRequest, spec: ModelSpec) -> Conditioning | Failed:
        """See `Stages.encode`."""
        return await outcome(self._threads.run(self._encode, job, spec))

    async def warm_up(self, spec: ModelSpec) -> Failed | None:
        """Load the encoders that a model needs."""
        return await outcome(self._threads.run(self._encoder.warm_up, spec))

    def _encode(self, job: MotionRequest, spec: ModelSpec) -> Conditioning:
        conditioning = self._encoder.encode(job, spec)
        if conditioning.music is None:
            return conditioning
        # What lies behind the last window is heard by nobody, and wide features of a long song weigh a lot.
        return replace(conditioning, music=conditioning.music[: conditioning.num_frames + spec.window])


class RetrieverReplica:
    """Holds the phrase library, and takes newer ones in without a pause."""

    def __init__(self, settings: Settings) -> None:
        from serving.stages.retriever import Retriever

        self._retriever = Retriever(
            settings.phrases, settings.prior_cache_bytes, settings.phrases_poll_s, settings.cross_encoder
        )

    async def retrieve(self, job: MotionRequest, conditioning: Conditioning) -> RetrievalResult | Failed:
        """See `Stages.retrieve`."""
        return await outcome(self._retriever.retrieve(job, conditioning))

    async def search(self, job: MotionRequest, conditioning: Conditioning, top_n: int) -> SearchResult | Failed:
        """See `Stages.search`."""
        return await outcome(self._retriever.search(job, conditioning, top_n))

    async def library(self) -> LibraryFacts | Failed | None:
        """See `ServingStages.library`."""
        return await outcome(self._retriever.library())

    async def warm_up(self, spec: ModelSpec) -> Failed | None:
        """Open the library for queries from a model's text encoder."""
        return await outcome(self._retriever.open((spec.text_encoder, spec.text_dim)))

    def __del__(self) -> None:
        """Asked for by Ray on the event loop when the replica is stopped."""
        self._retriever.close()


class WatchedEngine:
    """An engine that remembers when it last answered: real work is a canary itself."""

    def __init__(self, engine: "TritonEngine") -> None:
        self._engine = engine
        self.answered_at = -math.inf

    async def specs(self) -> dict[str, ModelSpec]:
        """See `Engine`."""
        return await self._engine.specs()

    async def instances(self) -> int:
        """See `Engine`."""
        return await self._engine.instances()

    async def infer(
        self,
        graph: "GraphName",
        inputs: Mapping[str, NDArray[np.float32]],
        *,
        deadline: float | None = None,
        whole: bool = False,
    ) -> dict[str, NDArray[np.float32]]:
        """See `Engine`."""
        out = await self._engine.infer(graph, inputs, deadline=deadline, whole=whole)
        self.answered_at = time.monotonic()
        return out

    async def infer_shared(
        self,
        graph: "GraphName",
        inputs: "SharedRegion",
        outputs: "SharedRegion",
        rows: int,
        *,
        deadline: float | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        """See `serving.sampling.transports.SharedMemoryEngine`."""
        out = await self._engine.infer_shared(graph, inputs, outputs, rows, deadline=deadline)
        self.answered_at = time.monotonic()
        return out

    async def forget(self, region: "SharedRegion") -> None:
        """See `serving.sampling.transports.SharedMemoryEngine`."""
        await self._engine.forget(region)

    async def close(self) -> None:
        """See `Engine`."""
        await self._engine.close()

    async def statistics(self) -> dict[str, int]:
        """See `Engine`."""
        return await self._engine.statistics()

    async def canary(self, silence_s: float) -> None:
        """One row through both graphs, unless there was an answer less than `silence_s` ago.

        Raises:
            DeadlineExceeded, BackendUnavailable: no answer came in time.
        """
        if time.monotonic() - self.answered_at < silence_s:
            return
        deadline = time.monotonic() + CANARY_S
        try:
            async with asyncio.timeout(CANARY_S):
                spec = next(iter((await self.specs()).values()))
        except TimeoutError as error:
            raise DeadlineExceeded("Triton did not name its models in time") from error
        graphs: dict[GraphName, Any] = {"conditioner": spec.conditioner_inputs(), "denoiser": spec.denoiser_inputs()}
        for graph, shapes in graphs.items():
            zeros = {name: np.zeros((1, *shape), np.float32) for name, shape in shapes.items()}
            await self.infer(graph, zeros, deadline=deadline)


class SamplerReplica:
    """Runs reverse processes on Triton. The loop over the steps is in here; no step crosses a handle.

    Args:
        triton_urls: gRPC addresses of the servers.
        settings: how many requests are denoised at a time, and how. More may be inside and wait, so that canaries
            never do.
    """

    def __init__(self, triton_urls: Sequence[str], settings: Settings) -> None:
        from serving.engines.triton import TritonEngine
        from serving.sampling.executors import executor
        from serving.stages.context_cache import ContextCache
        from serving.stages.sampler import Sampler

        self._engine = WatchedEngine(TritonEngine(triton_urls))
        self._sampler = Sampler(self._engine, executor(settings), ContextCache(settings.context_cache_bytes))
        self._turns = asyncio.Semaphore(settings.sampler_concurrency)
        self._started_at = time.monotonic()

    async def sample(
        self, job: MotionRequest, conditioning: Conditioning, prior: Prior | None
    ) -> SamplingResult | Failed:
        """See `Stages.sample`."""
        async with self._turns:
            return await outcome(self._sampler.sample(job, conditioning, prior))

    async def models(self) -> dict[str, ModelSpec] | Failed:
        """Contracts of the served models, the default one first."""
        return await outcome(self._engine.specs())

    async def canary(self) -> Failed | None:
        """Whether Triton answers, from work that is going on or by a canary."""
        return await outcome(self._engine.canary(BUSY_S))

    async def check_health(self) -> None:
        """Asked by Ray; raises when Triton does not answer a canary after a long silence."""
        if time.monotonic() - self._started_at > IDLE_S:
            await self._engine.canary(IDLE_S)


class FinisherReplica:
    """Makes finished motion of denoised features, and files of finished motion."""

    def __init__(self) -> None:
        from serving.stages import finisher

        self._finish = finisher.finish_motion
        self._threads = Threads(2)

    async def finish(
        self, job: MotionRequest, sampled: SamplingResult, fps: float, meta: dict[str, Any]
    ) -> tuple[Motion, NDArray[np.float32]] | Failed:
        """See `Stages.finish`."""
        return await outcome(self._threads.run(self._finish, job, sampled, fps, meta))

    async def deliver(
        self, job: MotionRequest, sampled: SamplingResult, fps: float, meta: dict[str, Any]
    ) -> MotionFile | Failed:
        """See `ServingStages.deliver`."""
        return await outcome(self._threads.run(self._deliver, job, sampled, fps, meta))

    async def warm_up(self) -> None:
        """Answer: everything is loaded."""

    def _deliver(self, job: MotionRequest, sampled: SamplingResult, fps: float, meta: dict[str, Any]) -> MotionFile:
        began = time.perf_counter()
        motion, _ = self._finish(job, sampled, fps, meta)
        finished = time.perf_counter()
        seconds = {"finish": round(finished - began, 4)}
        if "seconds" in meta:
            motion = replace(motion, meta=motion.meta | {"seconds": meta["seconds"] | seconds})
        body = render(motion, job.format, job.audio, job.text or "")
        return MotionFile(body, seconds | {"render": round(time.perf_counter() - finished, 4)})


def render(motion: Motion, fmt: Format, song: bytes | None, title: str) -> bytes:
    """The bytes of a motion in a format; films have the song as their sound. Blocking."""
    from choreo.motion.formats.formats import encode

    if not fmt.needs_audio or song is None:
        return encode(motion, fmt, title=title)
    with TemporaryDirectory(prefix="choreo-render-") as folder:
        audio = Path(folder) / "song"
        audio.write_bytes(song)
        return encode(motion, fmt, audio, title)
