"""How bodies of requests arrive: how large they may be, how slowly, and how many large ones at a time."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import Overloaded
from serving.http.problems import HttpProblem

GRACE_S: Final = 30.0
"""Time that every body has, however slowly it comes."""
SMALL_BYTES: Final = 64 << 10
"""Bodies of so many bytes need no place: as many of them as there are connections fit into memory."""
RETRY_S: Final = 5
_CLOSE: Final = {"Connection": "close"}


class BodyLimit:
    """ASGI middleware: refuses packed bodies, and counts bytes as they come so that nothing oversized is kept.

    Args:
        app: what is inside.
        max_bytes: largest body.
        min_rate: bytes per second, on average, that a body must come with after `GRACE_S`.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, min_rate: int) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._min_rate = min_rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        refusal = self._refusal(headers)
        began, taken, whole = time.monotonic(), 0, False

        async def counted() -> Message:
            nonlocal taken, whole
            if refusal is not None:
                raise refusal
            if whole:  # all that can come is the news that the caller has left
                return await receive()
            try:
                async with asyncio.timeout(began + GRACE_S + taken / self._min_rate - time.monotonic()):
                    message = await receive()
            except TimeoutError as error:
                raise slow_upload() from error
            taken += len(message.get("body", b""))
            if taken > self._max_bytes:
                raise self._too_large()
            whole = not message.get("more_body", False)
            return message

        await self._app(scope, counted, send)

    def _refusal(self, headers: dict[bytes, bytes]) -> HttpProblem | None:
        """Why the body will not be read, as far as the headers tell."""
        if headers.get(b"content-encoding", b"identity").strip().lower() not in (b"", b"identity"):
            message = "packed request bodies are not accepted"
            return HttpProblem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "packed-body", message, "Content-Encoding")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._max_bytes:
            return self._too_large()
        return None

    def _too_large(self) -> HttpProblem:
        message = f"a request may have at most {self._max_bytes} bytes"
        return HttpProblem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", message, "body", _CLOSE)


class Uploads:
    """Places for bodies that are large, or that do not say how large they are."""

    def __init__(self, places: int) -> None:
        self._free = places

    @contextmanager
    def place(self, request: Request) -> Iterator[None]:
        """A place while the body is read, if it needs one.

        Raises:
            Overloaded: there is none.
        """
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) <= SMALL_BYTES:
            yield
            return
        if not self._free:
            raise Overloaded(RETRY_S, limit="max_large_uploads")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


def slow_upload() -> HttpProblem:
    """The problem of a body that comes too slowly."""
    message = "the request's body did not arrive in time"
    return HttpProblem(HTTPStatus.REQUEST_TIMEOUT, "slow-upload", message, "body", _CLOSE)
