"""A server on a real socket, and an application behind it that answers when it may."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from serving.http.server import HttpServer
from serving.ray.app import free_port
from serving.settings import Settings

HOST = "127.0.0.1"
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
SOON = 0.2
"""Limit of the tests' connections, in seconds."""
PATIENCE = 20.0


class Waiting:
    """An application that answers when it may, reads the body first, and knows when a caller leaves."""

    def __init__(self) -> None:
        self.may, self.asked, self.left = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.size, self.body = 2, b""
        self.connections: set[Any] = set()

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left.set()
                return
            self.body += message.get("body", b"")
            more = message.get("more_body", False)
        self.asked.set()
        gone = asyncio.create_task(self._gone(receive))
        may = asyncio.create_task(self.may.wait())
        await asyncio.wait({gone, may}, return_when=asyncio.FIRST_COMPLETED)
        for task in (gone, may):
            task.cancel()
        if self.left.is_set():
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % self.size)]})
        await send({"type": "http.response.body", "body": b"x" * self.size})

    async def _gone(self, receive: Callable[[], Awaitable[Any]]) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left.set()


@asynccontextmanager
async def serving(app: Waiting, **limits: Any) -> AsyncIterator[int]:
    port = free_port(HOST, 0)
    server = HttpServer(app, HOST, port, Settings(**{"header_timeout_s": SOON} | limits), 1)
    app.connections = server.connections
    await server.start()
    try:
        yield port
    finally:
        await server.stop()


async def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)


async def closed(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server closes."""
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE)
    except ConnectionError:
        return b""


async def status(reader: asyncio.StreamReader) -> int:
    return int((await asyncio.wait_for(reader.readline(), PATIENCE)).split()[1])
