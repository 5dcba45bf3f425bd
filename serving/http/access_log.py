"""A line of JSON for every request: when, from where and with what outcome, and nothing of what was sent.

It has the shape of all log lines (`serving.util.logs`), also where those are text.
"""

import asyncio
import logging
import time
from logging.handlers import WatchedFileHandler
from pathlib import Path

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from choreo.errors import InvalidInput
from serving.http.problems import PROBLEM, Problem
from serving.util.logs import FIELDS, JsonFormatter, ProcessLog

FIELD = "access_log"
COMPONENT = "ingress"
WITH_THE_OTHERS = Path("-")
"""The name of a file that is none: lines go where those of the process go."""
CLIENT_LEFT = 499


def access_log(path: Path, in_json: bool = False) -> logging.Logger:
    """A log that appends to a file, and opens it again when something else has moved it away.

    Args:
        path: of the file; "-": the lines go where those of the process go.
        in_json: whether those are JSON.

    Raises:
        InvalidInput: the file cannot be written.
    """
    log = logging.Logger("choreo.access")  # not by getLogger: two servers of one process would share it
    if path == WITH_THE_OTHERS:
        if not in_json:
            raise InvalidInput(FIELD, "may be - only where log_format is json")
        log.addHandler(ProcessLog())
        return log
    try:
        log.addHandler(WatchedFileHandler(path, encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(FIELD, f"{path} cannot be written: {error.strerror}") from error
    log.handlers[0].setFormatter(JsonFormatter(COMPONENT))
    return log


class AccessLog:
    """ASGI middleware.

    Args:
        app: what is inside.
        log: where lines go; `access_log` opens one.
    """

    def __init__(self, app: ASGIApp, log: logging.Logger) -> None:
        self._app, self._log = app, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, sent, began = 0, 0, time.perf_counter()

        async def counted(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, counted)
        except (ClientDisconnect, asyncio.CancelledError):
            status = CLIENT_LEFT
            raise
        finally:
            state = scope.get("state", {})
            problem: Problem | None = state.get(PROBLEM)
            # The route, not the address: what a caller put there may be secret, and of any length.
            method, route = scope["method"], getattr(scope.get("route"), "path", "other")
            fields = {
                "request_id": state.get("request_id"),
                "trace_id": state.get("trace_id"),
                "client": (scope.get("client") or ("",))[0],
                "method": method,
                "route": route,
                "status": status or CLIENT_LEFT,
                "problem": None if problem is None else problem.kind,
                "seconds": round(time.perf_counter() - began, 4),
                "bytes": sent,
            }
            self._log.info("%s %s %d", method, route, status or CLIENT_LEFT, extra={FIELDS: fields})
