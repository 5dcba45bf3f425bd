"""Whether the stages answer: one probe at a time, and an answer within a second, however the stages are."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from choreo.errors import BackendUnavailable

FRESH_S: Final = 1.0
"""How long a good answer stands, so that probes cost nothing."""
PATIENCE_S: Final = 0.7
"""Longest time that a caller waits for a probe."""
STANDS_S: Final = 4.0
"""A probe that is under way does not shake a good answer that is no older: a busy server is slow, not broken."""
FIRST_S: Final = 30.0
"""Longest time of a probe until one has succeeded: the first ones load what the stages need."""
LONGEST_S: Final = 2.0
"""Longest time of the others."""


class Readiness:
    """Remembers the last probe.

    Args:
        probe: returns when all stages have answered, and raises what stands in the way.
    """

    def __init__(self, probe: Callable[[], Awaitable[None]]) -> None:
        self._probe = probe
        self._under_way: asyncio.Task[None] | None = None
        self._good_at: float | None = None

    async def check(self) -> None:
        """Return if the stages answered just now; any number of callers share one probe.

        Raises:
            Exception: what the probe raised.
            BackendUnavailable: it has not ended yet.
        """
        if self._age() < FRESH_S:
            return
        if self._under_way is None:
            self._under_way = asyncio.create_task(self._bounded())
            self._under_way.add_done_callback(self._ended)
        probe = self._under_way
        await asyncio.wait({probe}, timeout=PATIENCE_S)
        if probe.done():
            probe.result()
        elif self._age() >= STANDS_S:
            raise BackendUnavailable("the stages have not answered yet")

    def _age(self) -> float:
        """Seconds since the last good answer."""
        return float("inf") if self._good_at is None else time.monotonic() - self._good_at

    async def _bounded(self) -> None:
        try:
            async with asyncio.timeout(FIRST_S if self._good_at is None else LONGEST_S):
                await self._probe()
        except TimeoutError as error:
            raise BackendUnavailable("a stage did not answer its canary in time") from error
        self._good_at = time.monotonic()

    def _ended(self, probe: "asyncio.Task[None]") -> None:
        self._under_way = None
        if not probe.cancelled():
            probe.exception()  # seen: there may be no caller left to see it
