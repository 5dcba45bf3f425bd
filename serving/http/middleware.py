"""The outermost layer of the ingress: names requests, counts them, and lets no error out as anything but a problem."""

import asyncio
import logging
import re
import secrets
import time

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.metrics import Metrics
from serving.http.problems import PROBLEM, answer, problem_of
from serving.util.logs import about

log = logging.getLogger(__name__)

HEADER = "X-Request-Id"
CLIENT_LEFT = 499
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class RequestContextMiddleware:
    """ASGI middleware.

    Args:
        app: what is inside.
        metrics: where answers are counted.
        proxied: a proxy in front names every request and repeats the name in the answer, so this layer must not.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, proxied: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._proxied = proxied

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if not self._proxied:
                    MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        began = time.perf_counter()
        try:
            with about(request_id=request_id), self._metrics.in_flight.track_inprogress():
                await self._app(scope, receive, named)
        except (ClientDisconnect, asyncio.CancelledError) as error:
            status = CLIENT_LEFT
            if isinstance(error, asyncio.CancelledError):
                raise
        except Exception as error:
            if status:
                log.exception("request %s failed while it was answered", request_id)
                raise
            scope["state"][PROBLEM] = problem_of(error)
            await answer(error, request_id)(scope, receive, named)
        finally:
            if (problem := scope["state"].get(PROBLEM)) is not None:
                self._metrics.refused(problem)
            self._metrics.answered(_route(scope), status or CLIENT_LEFT, time.perf_counter() - began)


def _request_id(scope: Scope) -> str:
    """The caller's own name of the request if it is a decent one, else a new one."""
    given = next((v for k, v in scope["headers"] if k.lower() == b"x-request-id"), b"").decode("latin-1")
    return given if _ACCEPTED_ID.fullmatch(given) else secrets.token_hex(8)


def _route(scope: Scope) -> str:
    """Path of the route that answered; unknown paths are one label, or callers could make any number of them."""
    return getattr(scope.get("route"), "path", "other")
