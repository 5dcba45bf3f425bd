"""Connections over real sockets: heads have limits, who holds out is let go, and leaving is noticed."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from held_connections import GET, HOST, PATIENCE, SOON, Waiting, closed, serving, status

from serving.http.connections import ConnectionLimits
from serving.http.server import HttpServer
from serving.ray.app import free_port
from serving.settings import Settings


@pytest.mark.parametrize("begun", [b"", b"G", b"GET /healthz HTTP/1.1\r\nX: "])
def test_a_connection_that_does_not_finish_a_head_is_closed(begun: bytes) -> None:
    async def main() -> None:
        async with serving(Waiting()) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(begun)
            assert await closed(reader) == b""
            writer.close()

    asyncio.run(main())


def test_a_connection_that_begins_a_second_head_and_stops_is_closed() -> None:
    async def main() -> None:
        app = Waiting()
        app.may.set()
        async with serving(app) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(GET)
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\nxx"), PATIENCE)
            writer.write(b"G")
            assert await closed(reader) == b""
            writer.close()

    asyncio.run(main())


def test_an_idle_connection_is_kept_for_its_time_and_then_closed() -> None:
    async def main() -> None:
        app = Waiting()
        app.may.set()
        async with serving(app, keep_alive_s=1) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            for _ in range(3):
                writer.write(GET)
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\nxx"), PATIENCE)
                await asyncio.sleep(2 * SOON)  # longer than a head may take: nothing was begun
            assert await closed(reader) == b""
            writer.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "head", [b"X: " + b"a" * (1 << 20), b"".join(b"X-%d: a\r\n" % i for i in range(100_000)), b"a" * (1 << 20)]
)
def test_a_head_beyond_the_limit_is_refused(head: bytes) -> None:
    async def main() -> None:
        app = Waiting()
        app.may.set()
        async with serving(app) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
            assert (await closed(reader)).startswith(b"HTTP/1.1 400")
            assert not app.asked.is_set()
            writer.close()

    asyncio.run(main())


def test_a_caller_who_leaves_is_noticed_whatever_was_sent_behind_the_request() -> None:
    async def main() -> None:
        for behind in (b"", GET, GET * 20, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"):
            app = Waiting()
            async with serving(app) as port:
                _, writer = await asyncio.open_connection(HOST, port)
                writer.write(GET + behind)
                await asyncio.wait_for(app.asked.wait(), PATIENCE)
                await asyncio.sleep(0)
                writer.close()
                await asyncio.wait_for(app.left.wait(), PATIENCE)

    asyncio.run(main())


def test_requests_that_came_together_are_answered_in_turn() -> None:
    async def main() -> None:
        app = Waiting()
        app.may.set()
        async with serving(app) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(GET * 5)
            for _ in range(5):
                assert await status(reader) == 200
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\nxx"), PATIENCE)
            writer.close()

    asyncio.run(main())


def test_more_than_a_little_behind_a_request_ends_the_connection() -> None:
    async def main() -> None:
        app = Waiting()
        async with serving(app) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(GET)
            await asyncio.wait_for(app.asked.wait(), PATIENCE)
            writer.write(b"x" * (ConnectionLimits().pipelined_bytes + 1))
            assert await closed(reader) == b""
            await asyncio.wait_for(app.left.wait(), PATIENCE)
            writer.close()

    asyncio.run(main())


def test_what_remains_of_a_body_after_its_answer_has_a_limit_too() -> None:
    async def early(scope: Any, receive: Any, send: Callable[[Any], Any]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"no"})

    async def main() -> None:
        port = free_port(HOST, 0)
        server = HttpServer(early, HOST, port, Settings(header_timeout_s=SOON), 1)
        await server.start()
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nh")
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\nno"), PATIENCE)
        assert await closed(reader) == b""
        writer.close()
        await server.stop()

    asyncio.run(main())


def test_silent_connections_make_room_for_those_who_ask() -> None:
    async def main() -> None:
        app = Waiting()
        async with serving(app, max_connections=3) as port:
            first, writing = await asyncio.open_connection(HOST, port)
            writing.write(GET)
            await asyncio.wait_for(app.asked.wait(), PATIENCE)
            held = [socket.create_connection((HOST, port)) for _ in range(10)]
            app.may.set()
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(GET)
            assert await status(reader) == 200
            assert await status(first) == 200  # who is answered is not closed
            for each in (*held, writing, writer):
                each.close()

    asyncio.run(main())
