"""Bodies and answers over real sockets: parsed in slices, refused where malformed, given up where nobody takes them."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from held_connections import GET, HOST, PATIENCE, SOON, Waiting, closed, serving, status, until
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.http.connections import SLICE_BYTES, ConnectionLimits, bounded_protocol
from serving.http.server import HttpServer
from serving.ray.app import free_port
from serving.settings import Settings

EITHER_LOOP = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
NewLoop = Callable[[], asyncio.AbstractEventLoop]


async def read_slowly(reader: asyncio.StreamReader, pause: float) -> int:
    size = 0
    while True:
        part = await asyncio.wait_for(reader.read(1 << 16), PATIENCE)
        if not part:
            return size
        size += len(part)
        await asyncio.sleep(pause)


def test_an_answer_may_take_long_while_its_caller_reads() -> None:
    async def main() -> None:
        app = Waiting()
        app.may.set()
        app.size = 16 << 20  # in parts of 64 KiB with a pause after each: two and a half times the limit
        port = free_port(HOST, 0)
        server = HttpServer(app, HOST, port, Settings(), 1, ConnectionLimits(send_s=10 * SOON))
        await server.start()
        reader, writer = await asyncio.open_connection(HOST, port, limit=1 << 16)
        writer.write(GET.replace(b"Host", b"Connection: close\r\nHost"))
        assert await read_slowly(reader, SOON / 10) > app.size
        writer.close()
        await server.stop()

    asyncio.run(main())


def test_an_answer_that_nobody_takes_is_given_up() -> None:
    async def main() -> None:
        app = Waiting()
        app.may.set()
        app.size = 64 << 20
        port = free_port(HOST, 0)
        server = HttpServer(app, HOST, port, Settings(), 1, ConnectionLimits(send_s=SOON))
        await server.start()
        with socket.create_connection((HOST, port)) as caller:
            caller.sendall(GET)
            await asyncio.wait_for(app.asked.wait(), PATIENCE)
            await asyncio.sleep(5 * SOON)

            def rest() -> int:
                size = 0
                with contextlib.suppress(ConnectionError):
                    while part := caller.recv(1 << 20):
                        size += len(part)
                return size

            assert await asyncio.to_thread(rest) < app.size
        await server.stop()

    asyncio.run(main())


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_body_in_very_many_very_small_chunks_is_refused() -> None:
    async def main() -> None:
        app = Waiting()
        app.may.set()
        async with serving(app) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(CHUNKED + b"1\r\nx\r\n" * 200_000 + b"0\r\n\r\n")
            assert await status(reader) == 400
            await asyncio.wait_for(app.left.wait(), PATIENCE)
            await until(lambda: not app.connections)
            writer.close()
        assert not app.asked.is_set()

    asyncio.run(main())


@pytest.mark.parametrize("body", [b"zz\r\n", b"5\r\nhello!!\r\n"])
def test_a_body_that_is_malformed_ends_the_request_and_the_connection(body: bytes) -> None:
    async def main() -> None:
        app = Waiting()
        async with serving(app) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(CHUNKED + body)
            assert await status(reader) == 400
            await asyncio.wait_for(app.left.wait(), PATIENCE)
            await until(lambda: not app.connections)
            writer.close()

    asyncio.run(main())


def test_what_is_malformed_after_its_answer_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def early(scope: Any, receive: Any, send: Callable[[Any], Any]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"no"})

    async def main() -> None:
        port = free_port(HOST, 0)
        server = HttpServer(early, HOST, port, Settings(), 1)
        await server.start()
        for rest in (b"zz\r\n", b"1\r\nx\r\n" * 2000):
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(CHUNKED)
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\nno"), PATIENCE)
            writer.write(rest)
            assert await closed(reader) == b""
            writer.close()
        await server.stop()

    asyncio.run(main())
    assert "Fatal error" not in caplog.text


@EITHER_LOOP
def test_little_is_parsed_at_a_time(loop: NewLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[int] = []
    parse = H11Protocol.data_received

    def counted(self: H11Protocol, data: bytes) -> None:
        pieces.append(len(data))
        parse(self, data)

    async def main() -> None:
        app = Waiting()
        app.may.set()
        async with serving(app) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(CHUNKED + b"40\r\n%s\r\n" % (b"x" * 64) * 5000 + b"0\r\n\r\n")
            assert await status(reader) == 200
            writer.close()
        assert app.body == b"x" * 64 * 5000

    monkeypatch.setattr(H11Protocol, "data_received", counted)
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())
    assert max(pieces) <= SLICE_BYTES


@EITHER_LOOP
@pytest.mark.parametrize("size", [0, 1, SLICE_BYTES, 1 << 20, (1 << 20) + 1])
def test_bodies_of_any_size_arrive_whole_one_after_another(loop: NewLoop, size: int) -> None:
    async def main() -> None:
        app = Waiting()
        app.may.set()
        async with serving(app) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            for mark in (b"a", b"b"):
                writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + mark * size)
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\nxx"), PATIENCE)
            writer.close()
        assert app.body == b"a" * size + b"b" * size

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


@EITHER_LOOP
@pytest.mark.parametrize("line", [b"a:b\r\n", b"a"])
def test_a_head_a_little_beyond_the_limit_is_refused_though_it_comes_at_once(loop: NewLoop, line: bytes) -> None:
    async def main() -> None:
        app = Waiting()
        app.may.set()
        async with serving(app) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            lines = line * ((Settings().max_header_bytes + SLICE_BYTES) // len(line))
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + lines + b"\r\n\r\n")
            assert await status(reader) == 400
            writer.close()
        assert not app.asked.is_set()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"])
def test_a_connection_is_closed_though_nobody_takes_the_last_of_its_answer(
    close: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = bounded_protocol(ConnectionLimits()).__mro__[1]
    for name in ("pause_writing", "resume_writing"):  # so little is left that nobody is told of it
        monkeypatch.setattr(protocol, name, lambda self: None)

    async def main() -> None:
        app = Waiting()
        app.may.set()
        app.size = 64 << 20
        async with serving(app, send_timeout_s=SOON, keep_alive_s=SOON) as port:
            with socket.create_connection((HOST, port)) as caller:
                caller.sendall(GET[:-2] + close + b"\r\n")
                await asyncio.wait_for(app.asked.wait(), PATIENCE)
                await until(lambda: not app.connections)

    asyncio.run(main())


def test_room_is_not_made_by_those_who_are_taking_an_answer() -> None:
    async def main() -> None:
        app = Waiting()
        app.may.set()
        app.size = 32 << 20
        async with serving(app, max_connections=2, header_timeout_s=PATIENCE) as port:
            reader, writer = await asyncio.open_connection(HOST, port, limit=1 << 16)
            writer.write(GET)
            await asyncio.wait_for(app.asked.wait(), PATIENCE)
            await until(lambda: all(each.cycle.response_complete for each in app.connections))
            held = [socket.create_connection((HOST, port)) for _ in range(5)]
            await until(lambda: len(app.connections) == 2)
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
            assert len(await asyncio.wait_for(reader.readexactly(app.size), PATIENCE)) == app.size
            for each in (*held, writer):
                each.close()

    asyncio.run(main())


def test_answers_do_not_wait_for_acknowledgements() -> None:
    async def main() -> None:
        app = Waiting()
        async with serving(app, header_timeout_s=PATIENCE) as port:
            _, writer = await asyncio.open_connection(HOST, port)
            await until(lambda: app.connections)
            accepted = next(iter(app.connections)).transport.get_extra_info("socket")
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            writer.close()

    asyncio.run(main())
