"""A server in front of another one that refuses requests, loses them or is away, as a test tells it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from choreo.errors import ErrorAnswer

LOST = ErrorAnswer(0)
"""In place of an answer: the connection ends."""


@dataclass
class FakeTroubles:
    """The ASGI application.

    Attributes:
        app: answers what is not refused.
        trouble: told the fields of every request for a dance; what it answers with instead, or None.
        ready: whether /readyz says so.
        replaced: documents that are answered to GET, by path.
        asked: fields of every request for a dance, in order.
        under_way, most: requests for dances now, and at a time.
    """

    app: ASGIApp
    trouble: Callable[[dict[str, Any]], ErrorAnswer | None] = lambda fields: None
    ready: Callable[[], bool] = lambda: True
    replaced: dict[str, Any] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    under_way: int = 0
    most: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == "/readyz" and not self.ready():
            await answer(ErrorAnswer(503, "backend-unavailable", 0))(scope, receive, send)
        elif path in self.replaced:
            await Response(json.dumps(self.replaced[path]))(scope, receive, send)
        elif path == "/v1/generate":
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            try:
                await self._generate(scope, receive, send)
            finally:
                self.under_way -= 1
        else:
            await self.app(scope, receive, send)

    async def _generate(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        fields = json.loads(body) if body.startswith(b"{") else {}
        self.asked.append(fields)
        found = self.trouble(fields)
        if found is LOST:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
            return  # the server closes the connection, because the answer is not whole
        if found is not None:
            await answer(found)(scope, receive, send)
            return
        read = False

        async def again() -> Any:
            nonlocal read
            if read:
                return await receive()
            read = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, again, send)


def answer(error: ErrorAnswer) -> Response:
    """A problem document."""
    document = {
        "type": f"urn:choreo:problem:{error.kind}",
        "status": error.status,
        "detail": f"{error.kind} was made up",
    }
    headers = {} if error.retry_after_s is None else {"Retry-After": str(int(error.retry_after_s))}
    return Response(json.dumps(document), error.status, headers, media_type="application/problem+json")
