"""Searches that arrive together are made together: one call of the finder for many requests."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from choreo.errors import BackendUnavailable
from retrieval.library.library import Hit
from retrieval.search.finder import PhraseFinder, PhraseRequest
from serving.util.threads import Threads

MAX_BATCH = 32
"""Requests of one call."""
WAIT_S = 0.002
"""How long the first request waits for others. While a call is under way, those that come gather by themselves."""


@dataclass(frozen=True)
class _Waiting:
    finder: PhraseFinder
    request: PhraseRequest
    answer: "asyncio.Future[list[Hit]]"


class FindBatches:
    """Gathers requests on one event loop and searches in a thread, one batch at a time.

    Args:
        max_batch: requests of one batch; a batch that is full does not wait.
        wait_s: how long a request that finds nothing under way waits for others.
    """

    def __init__(self, max_batch: int = MAX_BATCH, wait_s: float = WAIT_S) -> None:
        self._max_batch, self._wait_s = max_batch, wait_s
        self._threads = Threads(1)
        self._queue: list[_Waiting] = []
        self._batch: list[_Waiting] = []
        self._full = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._closed = False

    async def find(self, finder: PhraseFinder, request: PhraseRequest) -> list[Hit]:
        """What `finder.find([request])` returns or raises; a request that is cancelled leaves the queue.

        Raises:
            BackendUnavailable: closed meanwhile.
        """
        if self._closed:
            raise BackendUnavailable("the retriever was closed")
        waiting = _Waiting(finder, request, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        if len(self._queue) >= self._max_batch:
            self._full.set()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await waiting.answer

    def close(self) -> None:
        """Fail what waits; a search that is under way ends by itself, and its result is dropped."""
        self._closed = True
        if self._worker is not None and not self._worker.get_loop().is_closed():
            self._worker.cancel()
            for waiting in (*self._batch, *self._queue):
                _answer(waiting, BackendUnavailable("the retriever was closed"))
        self._queue = []
        self._threads.close()

    async def _work(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._wait_s):
                await self._full.wait()
        while batch := self._next():
            self._batch = batch
            outcomes = await self._threads.run(_found, batch[0].finder, [w.request for w in batch])
            for waiting, outcome in zip(batch, outcomes, strict=True):
                _answer(waiting, outcome)
            self._batch = []

    def _next(self) -> list[_Waiting]:
        """The oldest requests to one library that somebody still waits for."""
        waiting = [w for w in self._queue if not w.answer.done()]
        batch = [w for w in waiting if w.finder is waiting[0].finder][: self._max_batch]
        chosen = set(map(id, batch))
        self._queue = [w for w in waiting if id(w) not in chosen]
        self._full.clear()
        return batch


def _found(finder: PhraseFinder, requests: Sequence[PhraseRequest]) -> Sequence[list[Hit] | Exception]:
    """Hits or error of each request; where one spoils the call for all, each is searched alone."""
    try:
        found = finder.find(requests)
        if len(found) == len(requests):
            return found
        raise RuntimeError(f"{len(found)} answers to {len(requests)} searches")
    except Exception as error:
        if len(requests) == 1:
            return [error]
    return [_found(finder, [request])[0] for request in requests]


def _answer(waiting: _Waiting, outcome: list[Hit] | Exception) -> None:
    if waiting.answer.done():
        return
    if isinstance(outcome, Exception):
        waiting.answer.set_exception(outcome)
    else:
        waiting.answer.set_result(outcome)
