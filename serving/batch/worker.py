"""Dances items: the whole pipeline on one event loop, with many items under way so that step batches stay full."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Final, Self

from choreo.errors import BackendUnavailable, ChoreoError
from choreo.motion.formats.formats import Format, encode
from serving.batch.catalog import CatalogRow
from serving.batch.config import WorkerConfig
from serving.batch.items import SONGS, names_files, request_of
from serving.batch.names import file_name
from serving.batch.outcome import Outcome, RunStopped, failure, stops_run, success
from serving.batch.rig_format import with_rig
from serving.engines.base import Engine
from serving.errors import ModelUnavailable
from serving.pipeline.contracts import Stages
from serving.pipeline.request import MotionRequest
from serving.stages.local import TRACE, LocalPipeline
from serving.stages.remembered import RememberedEncoder
from serving.util import tracing
from serving.util.threads import Threads

THREADS: Final = 4
TRIES: Final = 3
"""Of an item whose own processes fail while the engine answers."""
FIRST_PAUSE_S: Final = 0.5
MAX_PAUSE_S: Final = 15.0
"""Between tries of an item while no engine answers."""


@dataclass(frozen=True)
class Motions:
    """The files of a dance, by format, and its metadata; a function of the request, whatever was danced before."""

    files: dict[str, bytes]
    meta: dict[str, Any] = field(default_factory=dict)


class CatalogPipeline(LocalPipeline):
    """The local pipeline, which finishes a motion once for all formats, and remembers songs and prompts."""

    async def warm_up(self) -> None:
        """Load what the first item would wait for."""
        await asyncio.gather(self._stages.encoder.warm_up(self.spec), self._stages.retriever.warm_up(self.spec))

    async def files(self, request: MotionRequest, formats: Sequence[Format], threads: Threads) -> Motions:
        """One motion in every format.

        Raises:
            ChoreoError: as in `Pipeline.run`.
        """
        with tracing.root(TRACE):
            return await self._files(request, formats, threads)

    async def _files(self, request: MotionRequest, formats: Sequence[Format], threads: Threads) -> Motions:
        dance = await self._dance(request)
        # How many rows were evaluated depends on what was encoded before, and the files must not.
        meta = {name: value for name, value in dance.meta.items() if name != "rows"}
        finisher, light = self._stages.finisher, request.without_song()
        films = [fmt for fmt in formats if fmt.needs_audio]
        files: dict[str, bytes] = {}
        if len(films) < len(formats):
            with tracing.span("finish"):
                performance, _ = await finisher.finish(light, dance.sampled, meta, dance.beats)
            for fmt in formats:
                if fmt not in films:
                    with tracing.span("render", format=fmt.name):
                        files[fmt.name] = await threads.run(encode, performance, fmt, None, request.text or "")
        for fmt in films:
            with tracing.span("finish"):
                film = await finisher.deliver(replace(request, format=fmt), dance.sampled, meta, dance.beats)
            files[fmt.name] = film.body
        frames = int(dance.sampled.features.shape[-2])
        return Motions(files, meta | {"num_frames": frames, "fps": dance.sampled.fps})

    def _made(self, stack: AsyncExitStack) -> Stages:
        stages = super()._made(stack)
        return replace(stages, encoder=RememberedEncoder(stages.encoder, self._settings.conditioning_cache_bytes))

    async def engine_answers(self) -> bool:
        """Whether every graph can be evaluated now."""
        try:
            await self._stages.sampler.warm_up()
        except ChoreoError:
            return False
        return True


class Worker:
    """Asynchronous context manager: dances items and writes their files.

    Args:
        config: what to dance with, and where to.
    """

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._songs = asyncio.Semaphore(SONGS)
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Load everything.

        Raises:
            ChoreoError: what `LocalPipeline` raises; no Triton answers.
        """
        config, settings = self._config, self._config.settings
        async with AsyncExitStack() as stack:
            self._threads = Threads(THREADS)
            stack.callback(self._threads.close)
            engine = self._engine()
            if engine is not None:
                stack.push_async_callback(engine.close)
            pipeline = CatalogPipeline(settings, list(config.checkpoints) or None, engine=engine)
            self._pipeline = await stack.enter_async_context(pipeline)
            await self._pipeline.warm_up()
            self._exit = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exit.aclose()

    async def run(self, rows: Sequence[CatalogRow]) -> list[Outcome]:
        """Dance items together; their files are durable when this returns.

        Raises:
            RunStopped: something is broken that all items need.
        """
        return list(await asyncio.gather(*(self._outcome(row) for row in rows)))

    async def _outcome(self, row: CatalogRow) -> Outcome:
        tries, waited, pause = 0, 0.0, FIRST_PAUSE_S
        while True:
            try:
                return await self._dance(row)
            except ModelUnavailable as error:
                return failure(row, error)
            except BackendUnavailable as error:
                if await self._pipeline.engine_answers():
                    tries += 1
                    if tries == TRIES:
                        return failure(row, error)
                    continue
                # A Triton that died is often started again.
                if waited >= self._config.settings.batch_patience_s:
                    raise RunStopped(f"the engine has not answered for {waited:.0f} s: {error}") from error
                await asyncio.sleep(pause)
                waited, pause = waited + pause, min(2 * pause * random.uniform(0.8, 1.2), MAX_PAUSE_S)
            except Exception as error:  # whatever it is, the other items go on
                if isinstance(error, RunStopped) or stops_run(error):
                    raise RunStopped(str(error)) from error
                return failure(row, error)

    async def _dance(self, row: CatalogRow) -> Outcome:
        config = self._config
        async with self._songs if names_files(row) else nullcontext():
            request, formats = await self._threads.run(request_of, row, config.defaults, config.reader, config.settings)
            formats = with_rig(formats, config.character)
            made = await self._pipeline.files(request, formats, self._threads)
        names = {}
        for fmt in formats:
            names[fmt.name] = file_name(row.index, row.custom_id, fmt.suffix)
            await self._threads.run(self._write, names[fmt.name], made.files[fmt.name])
        return success(row, names, made.meta)

    def _write(self, name: str, data: bytes) -> None:
        try:
            self._config.store.write(name, data)
        except Exception as error:  # file systems of others have errors of their own
            raise RunStopped(f"{name} could not be written: {error}") from error

    def _engine(self) -> Engine | None:
        """The engine that evaluates instead of one in this process."""
        config = self._config
        if config.make_engine is not None:
            return config.make_engine()
        if config.settings.triton_url:
            from serving.engines.triton import TritonEngine

            return TritonEngine(config.settings.triton_url, default_model=config.settings.default_model)
        return None
