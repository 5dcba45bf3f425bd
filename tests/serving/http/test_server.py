"""The HTTP server in an event loop: it listens where it is told, answers what it has taken, and lets go."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from serving.http import server as http_server
from serving.http.server import HttpServer
from serving.ray.app import free_port
from serving.settings import Settings

HOST = "127.0.0.1"


class Echo:
    """Answers with the path, as soon as it may."""

    def __init__(self) -> None:
        self.may, self.asked = asyncio.Event(), asyncio.Event()
        self.may.set()

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
        self.asked.set()
        await self.may.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})


async def get(port: int, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://{HOST}:{port}{path}")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def test_it_answers_until_it_is_stopped() -> None:
    async def main() -> None:
        port = free_port(HOST, 0)
        server = HttpServer(Echo(), HOST, port, Settings(), 5)
        await server.start()
        assert (await get(port, "/here")).text == "/here"
        await server.stop()
        assert not listens(port)

    asyncio.run(main())


def test_who_is_inside_is_answered_when_it_stops() -> None:
    async def main() -> None:
        port, echo = free_port(HOST, 0), Echo()
        server = HttpServer(echo, HOST, port, Settings(), 30)
        await server.start()
        echo.may.clear()
        inside = asyncio.create_task(get(port, "/late"))
        await echo.asked.wait()
        stopping = asyncio.create_task(server.stop())
        while await asyncio.to_thread(listens, port):
            assert not stopping.done()
        echo.may.set()
        assert (await inside).text == "/late"
        await stopping

    asyncio.run(main())


def test_an_address_is_waited_for_while_another_process_ends() -> None:
    async def main() -> None:
        with socket.create_server((HOST, 0)) as other:
            port = other.getsockname()[1]
            server = HttpServer(Echo(), HOST, port, Settings(), 5)
            starting = asyncio.create_task(server.start())
            await asyncio.sleep(0)
            other.close()
        await starting
        assert (await get(port, "/mine")).text == "/mine"
        await server.stop()

    asyncio.run(main())


@pytest.mark.parametrize("host", [HOST, "203.0.113.1"])
def test_an_address_that_cannot_be_had(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "TAKEN_S", 0.05)

    async def main() -> None:
        with socket.create_server((HOST, 0)) as other, pytest.raises(OSError, match=r"(?i)address"):
            await HttpServer(Echo(), host, other.getsockname()[1], Settings(), 5).start()

    asyncio.run(main())
