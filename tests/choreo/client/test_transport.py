"""What servers may do to a client: both transports over answers made up here."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from choreo.client import AsyncClient, Client, Retries
from choreo.client.uploads import readable, upload
from choreo.errors import (
    BackendUnavailable,
    ChoreoError,
    DeadlineExceeded,
    InvalidInput,
    ServerFailed,
    UnexpectedAnswer,
)

Handler = Callable[[httpx.Request], httpx.Response]
ONCE = Retries(busy=0, lost=0)


def blocking(handler: Handler, method: str, *args: Any, **given: Any) -> Any:
    with Client("http://a", transport=httpx.MockTransport(handler), retries=ONCE) as client:
        return getattr(client, method)(*args, **given)


def awaited(handler: Handler, method: str, *args: Any, **given: Any) -> Any:
    async def run() -> Any:
        async with AsyncClient("http://a", transport=httpx.MockTransport(handler), retries=ONCE) as client:
            return await getattr(client, method)(*args, **given)

    return asyncio.run(run())


@pytest.fixture(params=[blocking, awaited], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Callable[..., Any]:
    ask: Callable[..., Any] = request.param
    return ask


class Endless(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that never ends, and how much of it was read."""

    blocks = 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.blocks += 1
            yield bytes(1 << 20)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for block in self:
            yield block


def test_an_endless_answer_is_given_up(ask: Callable[..., Any]) -> None:
    body = Endless()
    with pytest.raises(UnexpectedAnswer, match="larger than"):
        ask(lambda request: httpx.Response(200, stream=body), "models")
    assert body.blocks <= 65
    with pytest.raises(ServerFailed):
        ask(lambda request: httpx.Response(500, stream=Endless()), "models")


@pytest.mark.parametrize(
    "given",
    [
        {"text": "<html>"}, {"json": []}, {"json": {"models": [{}]}}, {"content": b"[" * 100_000},
        {"headers": {"content-encoding": "gzip"}, "stream": httpx.ByteStream(b"no gzip")},
        {"status_code": 301, "headers": {"location": "https://a"}},
    ],
)  # fmt: skip
def test_what_is_no_choreo_server(ask: Callable[..., Any], given: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedAnswer):
        ask(lambda request: httpx.Response(**({"status_code": 200} | given)), "models")


@pytest.mark.parametrize("headers", [{}, {"x-seed": "many"}, {"x-seed": "1"}])
def test_what_is_no_dance(ask: Callable[..., Any], headers: dict[str, str]) -> None:
    with pytest.raises(UnexpectedAnswer):
        ask(lambda request: httpx.Response(200, headers=headers, content=b"PK"), "generate", "waltz")


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (httpx.ConnectError("refused"), BackendUnavailable), (httpx.ReadError("reset"), BackendUnavailable),
        (httpx.RemoteProtocolError("?"), BackendUnavailable), (httpx.ReadTimeout("slow"), DeadlineExceeded),
        (httpx.ConnectTimeout("slow"), BackendUnavailable), (httpx.WriteTimeout("slow"), DeadlineExceeded),
    ],
)  # fmt: skip
def test_connections_that_fail(ask: Callable[..., Any], raised: Exception, error: type[ChoreoError]) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise raised

    with pytest.raises(error):
        ask(fail, "models")


def test_problems_of_hostile_servers_stay_on_one_line(ask: Callable[..., Any]) -> None:
    problem = {"type": "x" * 9999, "detail": "a\x1b[31m\nb" + "c" * 9999, "field": ["no"], "instance": 3}
    media_type = {"content-type": "application/problem+json"}
    with pytest.raises(InvalidInput) as caught:
        ask(lambda request: httpx.Response(422, headers=media_type, json=problem), "models")
    assert caught.value.field == "body"
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_the_key_is_sent() -> None:
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200, json={"models": []})

    with Client("http://a", api_key="k-1", transport=httpx.MockTransport(handler)) as client:
        assert client.models() == ()
    assert seen == ["Bearer k-1"]


def test_an_environment_with_a_proxy_does_not_keep_from_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://192.0.2.1:9")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def once() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n" + b'{"models":[]}')

        thread = threading.Thread(target=once)
        thread.start()
        with Client(f"http://127.0.0.1:{server.getsockname()[1]}") as client:
            assert client.models() == ()
        thread.join()


def test_a_file_that_shrinks_while_it_is_sent_is_named(tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(bytes(100))
    part = upload(song, "audio", "song")
    song.write_bytes(bytes(50))
    with readable([part], None) as files:
        ((_, (_, file)),) = files
        assert len(file.read(60)) == 50
        with pytest.raises(InvalidInput, match="became shorter"):
            file.read(60)
    song.unlink()
    with readable([part], None) as files, pytest.raises(InvalidInput, match="cannot be read"):
        files[0][1][1].read(60)


def test_a_file_that_grows_is_sent_as_it_was_announced(tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(b"a" * 100)
    part = upload(song, "audio")
    song.write_bytes(b"a" * 200)
    with readable([part], None) as files:
        assert files[0][1][1].read() == b"a" * 100


def test_names_of_files_that_are_no_text(tmp_path: Path) -> None:
    song = tmp_path / "song\udcff.wav"
    song.write_bytes(b"RIFF")
    seen: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.content)
        return httpx.Response(422)

    with Client("http://a", transport=httpx.MockTransport(handler)) as client:
        with pytest.raises(InvalidInput, match="body"):
            client.generate(song=song)
        with song.open("rb") as file, pytest.raises(InvalidInput, match="body"):
            client.generate(song=file)
    assert all(b'filename="song?.wav"' in content for content in seen)


@pytest.mark.parametrize("given", [{"text": "\ud800"}, {"preset": "\ud800"}, {"format": "\ud800"}])
def test_text_that_is_none(given: dict[str, Any]) -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(InvalidInput) as caught:
        client.generate(**given)
    assert caught.value.field.removeprefix("text_") in (*given, "prompt")
