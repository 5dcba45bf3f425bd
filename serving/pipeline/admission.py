"""Admission control: how many requests are accepted, and how many of them are worked on at a time."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from choreo.errors import DeadlineExceeded
from serving.errors import Overloaded, ShuttingDown

MAX_WAIT_S = 60
FIRST_GUESS_S = 5.0
"""Time of a request before any was measured."""
DRAIN_POLL_S = 0.05
FORGETTING = 0.2
"""Weight of the newest request in the running mean of their times."""


class Admission:
    """Places for requests: `running` of them work, `queued` more wait, the rest is refused at once."""

    def __init__(self, running: int, queued: int) -> None:
        self._running = running
        self._places = running + queued
        self._inside = 0
        self._taken = 0
        self._turns = asyncio.Semaphore(running)
        self._mean_s = FIRST_GUESS_S
        self._closed = False

    @property
    def inside(self) -> int:
        """Requests that are waiting or working."""
        return self._inside

    @property
    def idle(self) -> int:
        """Turns that nobody has, waits for, or will need as soon as its request is validated."""
        return max(self._running - max(self._taken, self._inside), 0)

    @property
    def places(self) -> int:
        """Requests that may be waiting or working."""
        return self._places

    @property
    def working(self) -> int:
        """Requests that have a turn, those of jobs among them."""
        return min(self._taken, self._running)

    @property
    def waiting(self) -> int:
        """Requests that wait for a turn."""
        return self._taken - self.working

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place until the answer, from when the request is whole.

        Raises:
            Overloaded: there is none; nothing was started.
            ShuttingDown: there are no more.
        """
        self.check_space()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def check_space(self) -> None:
        """Raise what `place` would raise now, so that a body need not be read in vain."""
        self.check_open()
        if self._inside >= self._places:
            rounds = math.ceil(self._inside / self._running) * self._mean_s
            raise Overloaded(min(max(round(rounds / 2), 1), MAX_WAIT_S), limit="max_queued_requests")

    def check_open(self) -> None:
        """Raise `ShuttingDown` once `drain` was called."""
        if self._closed:
            raise ShuttingDown

    async def drain(self, seconds: float) -> bool:
        """Take no more requests, and return when those inside have ended, or after the time; whether they have."""
        self._closed = True
        until = time.monotonic() + seconds
        while self._inside and time.monotonic() < until:
            await asyncio.sleep(DRAIN_POLL_S)
        return not self._inside

    @asynccontextmanager
    async def turn(self, deadline: float) -> AsyncIterator[None]:
        """A turn to work, first come, first served.

        Raises:
            DeadlineExceeded: none came before `deadline` (as of `time.time`).
        """
        self._taken += 1
        try:
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
        finally:
            self._taken -= 1
