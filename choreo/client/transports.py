"""The two transports: each runs the steps of flows, one with blocking calls, one in an event loop."""

import asyncio
import time
from contextlib import closing
from typing import Any, TypeVar

import httpx

from choreo.client.connection import Connection
from choreo.client.http_messages import Reading, arguments, reachable
from choreo.client.wire import Answer, Flow, Pause, Request, Step

T = TypeVar("T")


class BlockingTransport:
    """Runs flows in the calling thread; any number of threads may share it.

    Args:
        at: the server.
        transport: of httpx; None: the network.
    """

    def __init__(self, at: Connection, transport: httpx.BaseTransport | None) -> None:
        self._at = at
        limits = httpx.Limits(max_connections=None)
        self._http = httpx.Client(limits=limits, trust_env=at.through_proxies, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def run(self, flow: Flow[T]) -> T:
        """The result of a flow."""
        with closing(flow):
            try:
                step = next(flow)
                while True:
                    try:
                        outcome = self._outcome(step)
                    except Exception as error:
                        step = flow.throw(error)
                    else:
                        step = flow.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result

    def _outcome(self, step: Step) -> Any:
        if isinstance(step, Request):
            return self._answer(step)
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        return step.function()

    def _answer(self, request: Request) -> Answer:
        with reachable(self._at), arguments(self._at, request) as given, self._http.stream(**given) as response:
            reading = Reading(request, response)
            for block in response.iter_bytes():
                if not reading.take(block):
                    break
            return reading.answer()


class AsyncTransport:
    """Runs flows in the running event loop. One that is cancelled closes its connection.

    Args:
        at: the server.
        transport: of httpx; None: the network.
    """

    def __init__(self, at: Connection, transport: httpx.AsyncBaseTransport | None) -> None:
        self._at = at
        limits = httpx.Limits(max_connections=None)
        self._http = httpx.AsyncClient(limits=limits, trust_env=at.through_proxies, transport=transport)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def run(self, flow: Flow[T]) -> T:
        """The result of a flow."""
        with closing(flow):
            try:
                step = next(flow)
                while True:
                    try:
                        outcome = await self._outcome(step)
                    except Exception as error:
                        step = flow.throw(error)
                    else:
                        step = flow.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result

    async def _outcome(self, step: Step) -> Any:
        if isinstance(step, Request):
            return await self._answer(step)
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        return await asyncio.to_thread(step.function)

    async def _answer(self, request: Request) -> Answer:
        with reachable(self._at), arguments(self._at, request) as given:
            async with self._http.stream(**given) as response:
                reading = Reading(request, response)
                async for block in response.aiter_bytes():
                    if not reading.take(block):
                        break
                return reading.answer()
