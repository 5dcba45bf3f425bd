"""Good, broken, slow and leaving callers, all at once, against a running server.

Callers of one kind come one after another, those of all kinds side by side. Counts are those of answers, by their
status; `closed` are connections that ended without one, `left` those that the caller itself ended. `stall` is how long
`/healthz` took, asked every 20 ms: what the event loop did meanwhile. With the process id of `choreo serve`, memory is
that of the command and all its children. A server withstands it if there is no 5xx but 503, and no stall above 100 ms.
"""

import asyncio
import contextlib
import http.client
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import numpy as np
import psutil
import typer

from bench.command import benchmark
from bench.report import Row
from choreo.command_line import say
from choreo.errors import InvalidInput
from choreo.music.synth import synthesize_song

ANSWER_S: Final = 60.0
"""Longest time that any caller waits."""
PROBE_S: Final = 0.02
GOOD: Final = {"text_prompt": "a slow waltz", "duration": 1, "preset": "draft"}
GENERATE: Final = "/v1/generate"
BOUNDARY: Final = b"fuzz"


@dataclass
class Target:
    """Where to, what was found, and what the callers draw their dice from."""

    host: str
    port: int
    rng: np.random.Generator
    song: bytes
    found: dict[str, Counter[str]] = field(default_factory=dict)
    stalls: list[float] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection, closed in the end."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def exchange(self, sent: bytes) -> str:
        """Send bytes and return the status of the answer, or `closed`."""
        async with self.connection() as (reader, writer):
            with contextlib.suppress(ConnectionError):
                writer.write(sent)
                await writer.drain()
            return await answered(reader)


async def answered(reader: asyncio.StreamReader) -> str:
    """Status of the next answer."""
    try:
        line = await reader.readline()
    except ConnectionError:
        return "closed"
    return line.split()[1].decode() if line.count(b" ") else "closed"


def post(body: bytes, content_type: bytes = b"application/json", length: int | None = None, head: bytes = b"") -> bytes:
    """A request for a motion."""
    size = len(body) if length is None else length
    lines = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n"
    return lines % (GENERATE.encode(), content_type, size, head) + body


def form(song: bytes) -> bytes:
    """A multipart body."""
    parts = [(b'name="%s"' % name.encode(), str(value).encode()) for name, value in GOOD.items()]
    parts.append((b'name="audio"; filename="a.wav"', song))
    head = b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n"
    return b"".join(head % (BOUNDARY, about, value) for about, value in parts) + b"--%s--\r\n" % BOUNDARY


FORM_TYPE: Final = b"multipart/form-data; boundary=" + BOUNDARY


async def good(to: Target) -> str:
    """A prompt or a song, as clients send them."""
    if to.rng.random() < 0.5:
        return await to.exchange(post(json.dumps(GOOD | {"seed": int(to.rng.integers(1 << 30))}).encode()))
    return await to.exchange(post(form(to.song), FORM_TYPE))


async def broken_json(to: Target) -> str:
    """A JSON body with something changed, added or taken away."""
    kind = int(to.rng.integers(5))
    body = bytearray(json.dumps(GOOD).encode())
    if kind == 0:
        for _ in range(int(to.rng.integers(1, 9))):
            body[int(to.rng.integers(len(body)))] = int(to.rng.integers(256))
    elif kind == 1:
        body = body[: int(to.rng.integers(len(body)))]
    elif kind == 2:
        body = bytearray(b"[" * int(to.rng.integers(1, 1 << 20)))
    elif kind == 3:
        members = (b'"%x":%d' % (i, i) for i in range(int(to.rng.integers(1, 200_000))))
        body = bytearray(b"{" + b",".join(members) + b',"a":1,"a":2}')
    else:
        values: list[Any] = [None, [], {}, "x" * 5000, -1, 1e308, "\ud800", True]
        name = to.rng.choice(["seed", "duration", "text_prompt", "preset", "audio", "start", "format", "camera"])
        body = bytearray(json.dumps(GOOD | {str(name): values[int(to.rng.integers(len(values)))]}).encode())
    return await to.exchange(post(bytes(body)))


async def broken_form(to: Target) -> str:
    """A form that is cut off, changed, or has endless heads; or an odd content type."""
    body, kind = bytearray(form(to.song)), int(to.rng.integers(4))
    content_type = FORM_TYPE
    if kind == 0:
        body = body[: int(to.rng.integers(1, len(body)))]
    elif kind == 1:
        for _ in range(int(to.rng.integers(1, 60))):
            body[int(to.rng.integers(len(body)))] = int(to.rng.integers(256))
    elif kind == 2:
        endless = b"--%s\r\nX: %s" % (BOUNDARY, b"a" * int(to.rng.integers(1, 4 << 20)))
        body = bytearray(endless)
    else:
        content_type += to.rng.choice([b"; charset=undefined", b"; charset=idna", b"; boundary=", b"\xff", b";;="])
    return await to.exchange(post(bytes(body), content_type))


async def large_head(to: Target) -> str:
    """One long header, very many, or a long address."""
    size = int(to.rng.integers(1, 8 << 20))
    kind = int(to.rng.integers(3))
    if kind == 0:
        return await to.exchange(post(b"{}", head=b"X: " + b"a" * size + b"\r\n"))
    if kind == 1:
        return await to.exchange(post(b"{}", head=b"X: a\r\n" * (size // 6)))
    return await to.exchange(b"GET /" + b"a" * size + b" HTTP/1.1\r\nHost: x\r\n\r\n")


async def large_body(to: Target) -> str:
    """Megabytes of JSON that are no attachment, or a body in chunks of one byte."""
    size, kind = int(to.rng.integers(1, 16 << 20)), int(to.rng.integers(4))
    if kind == 0:
        return await to.exchange(post(b'{"seed":' + b"1" * size + b"}"))
    if kind == 1:
        return await to.exchange(post(b'{"' + b"a" * size + b'":1}'))
    if kind == 2:
        return await to.exchange(post(b'{"audio":"' + b"\\n" * (size // 2) + b'"}'))
    head = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    return await to.exchange(head + b"1\r\n \r\n" * (size // 64) + b"0\r\n\r\n")


async def noise(to: Target) -> str:
    """What is no HTTP at all."""
    return await to.exchange(to.rng.bytes(int(to.rng.integers(1, 1 << 16))) + b"\r\n\r\n")


async def leaving(to: Target) -> str:
    """A good request, or two, whose caller does not wait."""
    async with to.connection() as (_, writer):
        request = post(json.dumps(GOOD | {"duration": 20}).encode())
        writer.write(request * int(to.rng.integers(1, 4)))
        await writer.drain()
        await asyncio.sleep(float(to.rng.random()) / 2)
    return "left"


async def trickling(to: Target) -> str:
    """A body, or a head, that comes byte by byte, and is given up after a while."""
    async with to.connection() as (reader, writer):
        begun = post(b"{", length=1000) if to.rng.random() < 0.5 else b"GET /healthz HTTP/1.1\r\nX: "
        writer.write(begun)
        end = time.monotonic() + 5 + 20 * float(to.rng.random())
        while time.monotonic() < end:
            writer.write(b" ")
            try:
                await writer.drain()
                if await asyncio.wait_for(reader.read(1), 0.5) == b"":
                    return "closed"
                return "answered"
            except TimeoutError:
                continue
            except ConnectionError:
                return "closed"
    return "left"


CALLERS: Final[dict[str, tuple[Callable[[Target], Awaitable[str]], int]]] = {
    "good": (good, 4),
    "broken json": (broken_json, 4),
    "broken form": (broken_form, 4),
    "large head": (large_head, 2),
    "large body": (large_body, 2),
    "noise": (noise, 2),
    "leaving": (leaving, 4),
    "trickling": (trickling, 64),
}
"""What callers do, and how many of each are there at a time."""


@benchmark
def main(
    url: Annotated[str, typer.Option(help="Running server, e.g. http://127.0.0.1:8000.")],
    seconds: Annotated[float, typer.Option(min=1, max=86_400, help="How long.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Of what the callers send.")] = 0,
    pid: Annotated[int | None, typer.Option(help="Process of `choreo serve`, to watch its memory.")] = None,
) -> Iterator[Row]:
    """Counts by caller, stalls, and memory."""
    address = urlsplit(url)
    if address.scheme != "http" or address.hostname is None:
        raise InvalidInput("url", f"must be http://host:port, got {url[:80]!r}")
    to = Target(address.hostname, address.port or 80, np.random.default_rng(seed), wave())
    before = memory(pid)
    asyncio.run(assault(to, seconds))
    for kind, counts in to.found.items():
        for outcome, count in sorted(counts.items()):
            yield Row(kind, outcome, count, "callers")
    stalls = np.array(to.stalls)
    yield Row("event loop", "stall p99", round(1e3 * float(np.percentile(stalls, 99)), 1), "ms")
    yield Row("event loop", "longest stall", round(1e3 * float(stalls.max()), 1), "ms")
    yield Row("event loop", "stalls above 100 ms", int((stalls > 0.1).sum()), f"of {len(stalls)}")
    if before is not None:
        yield Row("memory", "before", before, "MiB")
        yield Row("memory", "after", memory(pid), "MiB")


async def assault(to: Target, seconds: float) -> None:
    """All callers until the time is over."""
    end = time.monotonic() + seconds

    async def repeat(kind: str, caller: Callable[[Target], Awaitable[str]]) -> None:
        while time.monotonic() < end:
            try:
                async with asyncio.timeout(ANSWER_S):
                    outcome = await caller(to)
            except TimeoutError:
                outcome = "no answer"
            except OSError as error:
                outcome = type(error).__name__
            to.found.setdefault(kind, Counter())[outcome] += 1

    say(f"{sum(count for _, count in CALLERS.values())} callers for {seconds:g} s")
    callers = [repeat(kind, caller) for kind, (caller, count) in CALLERS.items() for _ in range(count)]
    with ProcessPoolExecutor(1) as pool:  # a process of its own, which waits for no caller
        probing = asyncio.get_running_loop().run_in_executor(pool, probe, to.host, to.port, seconds)
        await asyncio.gather(*callers)
        to.stalls = await probing


def probe(host: str, port: int, seconds: float) -> list[float]:
    """Seconds that `/healthz` took, one request after another for a time, on one connection."""
    took, end = [], time.monotonic() + seconds
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_S)
    while time.monotonic() < end:
        began = time.perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        took.append(time.perf_counter() - began)
        time.sleep(PROBE_S)
    connection.close()
    return took


def wave() -> bytes:
    """A song of two seconds."""
    import io

    import soundfile

    samples, rate, _ = synthesize_song(120.0, 2.0)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV")
    return buffer.getvalue()


def memory(pid: int | None) -> float | None:
    """MiB of a process and its descendants, shared pages counted once."""
    if pid is None:
        return None
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess as error:
        raise InvalidInput("pid", f"there is no process {pid}") from error
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return round(total / 2**20, 1)


if __name__ == "__main__":
    sys.exit(main())
