"""A running server as the workers of a run: an event loop in a thread has a request for each item under way."""

import asyncio
import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from choreo.client import AsyncClient
from serving.batch.catalog import CatalogRow
from serving.batch.config import WorkerConfig
from serving.batch.feed import Done
from serving.batch.remote_worker import ONCE, RemoteWorker
from serving.batch.server_facts import ServerFacts


class RemoteWorkers:
    """Context manager: one worker, which is a server. Leaving it ends all requests that are under way.

    Args:
        config: of the worker.
        url: address of the server.
        facts: what it was when the run began.
    """

    count = 1

    def __init__(self, config: WorkerConfig, url: str, facts: ServerFacts) -> None:
        self._config, self._facts = config, facts
        self._client = AsyncClient(url, retries=ONCE)
        self._given: SimpleQueue[Sequence[Done] | Exception] = SimpleQueue()
        self._stopped: Exception | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="requests", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def submit(self, rows: Sequence[CatalogRow]) -> None:
        """Begin rows; each comes back by itself."""
        self._loop.call_soon_threadsafe(self._begin, rows)

    def wait(self, seconds: float) -> list[Done]:
        """Rows that have come back; see `Workers.wait`. What stops the run comes after all that came before it."""
        done: list[Done] = []
        while self._stopped is None:
            try:
                given = self._given.get(timeout=seconds) if not done else self._given.get_nowait()
            except Empty:
                return done
            if isinstance(given, Exception):
                self._stopped = given
            else:
                done += given
        if not done:
            raise self._stopped
        return done

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        async with self._client:
            self._worker = RemoteWorker(self._config, self._client, self._facts, self._given.put)
            self._started.set()
            try:
                await self._ended.wait()
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                self._worker.close()

    def _begin(self, rows: Sequence[CatalogRow]) -> None:
        for row in rows:
            task = self._loop.create_task(self._worker.dance(row))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
