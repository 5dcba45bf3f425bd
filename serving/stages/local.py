"""The whole pipeline in this process: what `choreo generate`, evaluation, library building and benchmarks run."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from choreo.errors import InvalidInput
from choreo.generators.spec import GeneratorSpec
from export.build import build_repository
from serving.engines.base import Engine
from serving.engines.local import LocalEngine
from serving.pipeline.contracts import Stages
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.request import MotionRequest
from serving.pipeline.results import DeliveredFile, Result
from serving.sampling.runner import executor
from serving.settings import Settings
from serving.stages.context_cache import ContextCache
from serving.stages.encoder import Encoder
from serving.stages.finisher import Finisher
from serving.stages.retriever import Retriever
from serving.stages.sampler import Sampler
from serving.util import tracing

COMPONENT: Final = "offline"
TRACE: Final = "dance"
"""The span of a motion that is made in this process."""


class LocalPipeline(Pipeline):
    """An asynchronous context manager: the stages over one engine, started in order and closed in reverse.

    Args:
        settings: limits and paths.
        checkpoints: folders of the generators, the default one first; None: `settings.weights`. One that is not in the
            settings' model repository by name is exported to a temporary folder, so that evaluating a checkpoint does
            not change what is served.
        phrases: folder of the phrase library that must be there; None: that of the settings, which need not.
        engine: evaluates the graphs instead of one over `checkpoints`; it stays open.
    """

    def __init__(
        self,
        settings: Settings,
        checkpoints: Sequence[Path] | None = None,
        phrases: Path | None = None,
        engine: Engine | None = None,
    ) -> None:
        self._settings, self._checkpoints = settings, checkpoints or [settings.weights]
        self._named = phrases is not None or settings.phrases_named
        self._retriever = Retriever(phrases or settings.phrases, cross_encoder=settings.cross_encoder)
        self._given = engine
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Export what is not current, load it, and open the library.

        Raises:
            InvalidInput: the phrase library was named, and cannot be used.
            MissingDependency, InvalidArtifact: no usable checkpoint.
        """
        tracing.begin(os.environ, COMPONENT)
        async with AsyncExitStack() as stack:
            stack.callback(tracing.flush)
            stack.callback(self._retriever.close)
            if self._named:
                try:
                    await self._retriever.require()
                except InvalidInput as error:
                    raise InvalidInput(self._settings.named(error.field), error.message) from error
            self.engine = self._given or await self._opened(stack)
            self.spec: GeneratorSpec = next(iter((await self.engine.models()).values()))
            if self._named:
                await self._retriever.require((self.spec.text_encoder, self.spec.text_dim))
            super().__init__(self._made(stack))
            self._exit = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exit.aclose()

    async def run(self, request: MotionRequest) -> Result:
        """One finished motion, as in `Pipeline.run`; it is a trace of its own."""
        with tracing.root(TRACE):
            return await super().run(request)

    async def deliver(self, request: MotionRequest, about: dict[str, Any]) -> DeliveredFile:
        """One finished motion as a file, as in `Pipeline.deliver`; it is a trace of its own."""
        with tracing.root(TRACE):
            return await super().deliver(request, about)

    async def _opened(self, stack: AsyncExitStack) -> Engine:
        settings, repository = self._settings, self._settings.model_repo
        if [checkpoint.resolve() for checkpoint in self._checkpoints] != [settings.weights.resolve()]:
            repository = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="choreo-models-")))
        names = [build_repository(checkpoint, repository).spec.name for checkpoint in self._checkpoints]
        engine = LocalEngine(repository, names, settings.threads)
        stack.push_async_callback(engine.close)
        return engine

    def _made(self, stack: AsyncExitStack) -> Stages:
        settings = self._settings
        encoder = Encoder(settings)
        stack.callback(encoder.close)
        finisher = Finisher(text_motion=settings.text_motion)
        stack.callback(finisher.close)
        cache = ContextCache(settings.context_cache_bytes)
        sampler = Sampler(self.engine, executor(settings), cache, settings.sampler_concurrency)
        stack.push_async_callback(sampler.close)
        return Stages(encoder, self._retriever, sampler, finisher)
