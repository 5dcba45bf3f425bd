"""One computation for everybody who asks for the same thing at the same time."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

V = TypeVar("V")


@dataclass
class _Flight(Generic[V]):
    task: "asyncio.Task[V]"
    waiting: int = 0


class SingleFlight(Generic[V]):
    """Joins equal requests on one event loop. What is made is handed to all that wait for it, and then forgotten."""

    def __init__(self) -> None:
        self._flights: dict[bytes, _Flight[V]] = {}

    @property
    def under_way(self) -> int:
        """Computations that have not ended."""
        return len(self._flights)

    async def do(self, key: bytes, work: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """The result of `work` for `key`, or of the equal work that is under way.

        A caller that is cancelled leaves the others waiting; when the last one leaves, the work is cancelled.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(work()))
            flight.task.add_done_callback(lambda task: self._landed(key, task))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._forget(key, flight.task)  # who comes now must not wait for something that is cancelled
                flight.task.cancel()

    def _landed(self, key: bytes, task: "asyncio.Task[V]") -> None:
        self._forget(key, task)
        if not task.cancelled():
            task.exception()  # seen: asyncio must not log an error that no caller is left to see

    def _forget(self, key: bytes, task: "asyncio.Task[V]") -> None:
        flight = self._flights.get(key)
        if flight is not None and flight.task is task:
            del self._flights[key]
