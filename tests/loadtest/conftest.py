"""A real HTTP server with known behaviour, in a thread of the test."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import pytest

from loadtest.payloads import SAMPLES_PER_FRAME
from loadtest.samples import Outcome, Sample

Reply = tuple[int, dict[str, str], bytes]
JSON = {"Content-Type": "application/json"}
PROBLEM = {"Content-Type": "application/problem+json"}


class FakeServer:
    """Answers `/v1/generate` with motion of the right length as JSON, after `delay_s`.

    Attributes:
        behave: given the number of a request, counted from 0, what to answer instead; None: the motion.
        stall: requests that come while it is held wait.
        bodies: of all requests, in order.
    """

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.behave: Callable[[int], Reply | None] = lambda number: None
        self.stall = threading.Lock()
        self.bodies: list[bytes] = []
        fake, counting = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._reply((200, JSON, b"{}"))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with counting:
                    number = len(fake.bodies)
                    fake.bodies.append(body)
                with fake.stall:
                    pass
                time.sleep(fake.delay_s)
                self._reply(fake.behave(number) or (200, JSON, motion(frames_of(body))))

            def _reply(self, reply: Reply) -> None:
                status, headers, body = reply
                try:
                    self.send_response(status)
                    for name, value in (headers | {"Content-Length": str(len(body))}).items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)
                except ConnectionError:
                    self.close_connection = True

            def log_message(self, *args: Any) -> None:
                pass

        class Listener(ThreadingHTTPServer):
            request_queue_size = 128
            daemon_threads = True

        self._listener = Listener(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._listener.server_port}"
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown()
        self._listener.server_close()


def frames_of(body: bytes) -> int:
    """Frames that the answer to a request must have."""
    data = body.find(b"data", body.find(b"RIFF"))
    if body.startswith(b"--"):
        return int.from_bytes(body[data + 4 : data + 8], "little") // (2 * SAMPLES_PER_FRAME)
    return round(30 * float(json.loads(body)["duration"]))


def motion(frames: int) -> bytes:
    """An answer of so many frames."""
    return json.dumps({"motion": [[[0, 0, 0]] * 22] * frames, "fps": 30, "num_frames": frames}).encode()


def problem(status: int, kind: str, **headers: str) -> Reply:
    """A refusal."""
    document = {"type": f"urn:choreo:problem:{kind}", "status": status}
    return (
        status,
        PROBLEM | {re.sub("_", "-", name): value for name, value in headers.items()},
        json.dumps(document).encode(),
    )


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


@pytest.fixture
def refusal() -> Callable[..., Reply]:
    return problem


@pytest.fixture
def sample() -> Callable[..., Sample]:
    """Makes a sample that was intended, sent and answered at given times."""

    def make(intended: float, ended: float | None, outcome: Outcome = Outcome.SERVED, **given: Any) -> Sample:
        values = {"index": 0, "kind": "prompt", "started": intended, "frames": 30} | given
        return Sample(intended=intended, ended=ended, outcome=outcome, **values)

    return make
