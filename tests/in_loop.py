"""Asynchronous objects that tests call as if they blocked, so that one test does for both clients."""

import asyncio
import inspect
from typing import Any


class InLoop:
    """Wraps an object, and what its methods return, so that awaitables are awaited and iterators read to their end."""

    def __init__(self, inner: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._inner, self._loop = inner, loop

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        return self._called(value) if inspect.ismethod(value) else value

    def _called(self, method: Any) -> Any:
        def call(*args: Any, **given: Any) -> Any:
            return self._wrapped(self._loop.run_until_complete(self._awaited(method(*args, **given))))

        return call

    @staticmethod
    async def _awaited(value: Any) -> Any:
        if inspect.isasyncgen(value):
            return [each async for each in value]
        return await value

    def _wrapped(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._wrapped(each) for each in value]
        return InLoop(value, self._loop) if type(value).__name__.startswith("Async") else value
