"""What both transports share: requests as httpx takes them, answers as they come in, and errors of connections."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx

from choreo.client.connection import Connection
from choreo.client.uploads import Progress, readable
from choreo.client.wire import Answer, Request, Unreachable
from choreo.errors import UnexpectedAnswer

CONNECT_S: Final = 10.0
"""Longest time to make a connection."""
GRACE_S: Final = 5.0
"""What a server gets beyond the deadline to say by itself that it was missed."""
MAX_PROBLEM_BYTES: Final = 64 << 10
"""Bytes of an answer that is an error; what is beyond them is not read."""


@contextmanager
def arguments(at: Connection, request: Request) -> Iterator[dict[str, Any]]:
    """Yield the arguments of httpx's `stream` for a request; its files are closed at the end."""
    seconds = request.timeout_s + GRACE_S
    given: dict[str, Any] = {
        "method": request.method,
        "url": at.url + request.path,
        "params": dict(request.query) or None,
        "headers": {**at.headers, **request.headers},
        "timeout": httpx.Timeout(seconds, connect=min(CONNECT_S, seconds)),
    }
    with readable(request.uploads, _bounded(request)) as files:
        if files:
            given |= {"data": dict(request.form), "files": files}
        elif request.json is not None:
            given["json"] = request.json
        yield given


@contextmanager
def reachable(at: Connection) -> Iterator[None]:
    """Turn errors of connections into `Unreachable`, and those of broken answers into `UnexpectedAnswer`."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise Unreachable(f"no server answers at {at.url}: {_reason(error)}", sent=False) from error
    except httpx.PoolTimeout as error:
        raise Unreachable("no connection was free", sent=False, late=True) from error
    except httpx.TimeoutException as error:
        raise Unreachable(f"{at.url} was silent for too long", sent=True, late=True) from error
    except httpx.TransportError as error:
        raise Unreachable(f"the connection to {at.url} was lost: {_reason(error)}", sent=True) from error
    except httpx.HTTPError as error:
        raise UnexpectedAnswer(f"{at.url} sent an answer that cannot be read: {_reason(error)}") from error


class Reading:
    """An answer while it comes in.

    Args:
        request: what is answered.
        response: its head.
    """

    def __init__(self, request: Request, response: httpx.Response) -> None:
        self._request, self._response = request, response
        self._end = time.monotonic() + request.timeout_s + GRACE_S
        self._is_error = not response.is_success
        self._limit = MAX_PROBLEM_BYTES if self._is_error else request.limit
        self._body, self._size = bytearray(), 0

    def take(self, block: bytes) -> bool:
        """Take a block of the body; whether more is wanted.

        Raises:
            UnexpectedAnswer: the answer is larger than it may be.
            Unreachable: it comes too slowly.
        """
        self._size += len(block)
        if self._size > self._limit:
            if self._is_error:
                return False
            raise UnexpectedAnswer(f"the answer is larger than {self._limit} bytes")
        if time.monotonic() > self._end:
            raise Unreachable("the answer did not end in time", sent=True, late=True)
        self._body += block
        return True

    def answer(self) -> Answer:
        """The whole answer."""
        return Answer(self._response.status_code, self._response.headers, bytes(self._body))


def _bounded(request: Request) -> Progress:
    """The progress of a request's uploads, which ends them when time has run out."""
    end = time.monotonic() + request.timeout_s

    def progress(sent: int, total: int) -> None:
        if time.monotonic() > end:
            raise Unreachable(f"{sent} of {total} bytes had been sent when time ran out", sent=True, late=True)
        if request.progress is not None:
            request.progress(sent, total)

    return progress


def _reason(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
