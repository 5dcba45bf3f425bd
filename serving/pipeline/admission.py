"""Admission control: how many requests are accepted, and how many of them are worked on at a time."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from choreo.errors import DeadlineExceeded
from serving.errors import Overloaded

MAX_WAIT_S = 60
FIRST_GUESS_S = 5.0
"""Time of a request before any was measured."""
FORGETTING = 0.2
"""Weight of the newest request in the running mean of their times."""


class Admission:
    """Places for requests: `running` of them work, `queued` more wait, the rest is refused at once."""

    def __init__(self, running: int, queued: int) -> None:
        self._running = running
        self._places = running + queued
        self._inside = 0
        self._turns = asyncio.Semaphore(running)
        self._mean_s = FIRST_GUESS_S

    @property
    def inside(self) -> int:
        """Requests that are uploading, waiting or working."""
        return self._inside

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place from before the upload until the answer.

        Raises:
            Overloaded: there is none; nothing was read or started.
        """
        if self._inside >= self._places:
            rounds = math.ceil(self._inside / self._running) * self._mean_s
            raise Overloaded(min(max(round(rounds / 2), 1), MAX_WAIT_S))
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    @asynccontextmanager
    async def turn(self, deadline: float) -> AsyncIterator[None]:
        """A turn to work, first come, first served.

        Raises:
            DeadlineExceeded: none came before `deadline` (as of `time.time`).
        """
        try:
            async with asyncio.timeout(max(deadline - time.time(), 0)):
                await self._turns.acquire()
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed in the queue") from error
        began = time.perf_counter()
        try:
            yield
        finally:
            self._mean_s += FORGETTING * (time.perf_counter() - began - self._mean_s)
            self._turns.release()
