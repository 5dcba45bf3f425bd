"""How many requests a server is sent at a time: as many as it takes, found out by what it refuses."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class AdaptiveLimit:
    """Places for requests: additive increase, multiplicative decrease (Chiu and Jain 1989).

    A whole round of answers makes room for one request more; a refusal halves the room, once for all requests that were
    under way together. Whoever waits is served in the order of arrival.

    Args:
        most: requests that are under way at most.
    """

    def __init__(self, most: int) -> None:
        self._most, self._limit = most, float(most)
        self._under_way, self._round = 0, 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._held: asyncio.TimerHandle | None = None

    @property
    def limit(self) -> int:
        """Requests that may be under way now."""
        return max(int(self._limit), 1)

    @property
    def under_way(self) -> int:
        """Requests that are."""
        return self._under_way

    @asynccontextmanager
    async def place(self) -> AsyncIterator[int]:
        """Wait for a place and occupy it; yields the round that `refused` wants to know."""
        await self._take()
        try:
            yield self._round
        finally:
            self._under_way -= 1
            self._wake()

    def answered(self) -> None:
        """A request was worked on: there may be room for more."""
        self._limit = min(self._limit + 1 / self._limit, float(self._most))
        self._wake()

    def refused(self, round_: int, pause_s: float) -> None:
        """A request of a round was refused, since the server has enough; nothing is sent for so many seconds."""
        if round_ == self._round:
            self._limit, self._round = max(self._limit / 2, 1.0), self._round + 1
        loop = asyncio.get_running_loop()
        if self._held is not None and self._held.when() >= loop.time() + pause_s:
            return
        if self._held is not None:
            self._held.cancel()
        self._held = loop.call_later(pause_s, self._go_on)

    def _go_on(self) -> None:
        self._held = None
        self._wake()

    def _has_room(self) -> bool:
        return self._held is None and self._under_way < self.limit

    async def _take(self) -> None:
        if not self._waiting and self._has_room():
            self._under_way += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it had its place already
                self._under_way -= 1
                self._wake()
            raise

    def _wake(self) -> None:
        while self._waiting and self._has_room():
            turn = self._waiting.popleft()
            if not turn.done():
                self._under_way += 1
                turn.set_result(None)
