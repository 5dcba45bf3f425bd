"""A span for every request over HTTP, in the trace of its caller; `serving.util.tracing` has the rest."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.util import tracing
from serving.util.tracing import FLUSH_MS, SERVICE, TRACER

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

TRACE_ID: Final = "trace_id"
"""Where the state of a request has its trace's id."""
UNTRACED: Final = frozenset({"/healthz", "/readyz", "/metrics"})


def flushed_after(
    drain: Callable[[float], Awaitable[bool]], provider: "TracerProvider"
) -> Callable[[float], Awaitable[bool]]:
    """A `drain` that sends what was recorded before the process ends."""

    async def drained(seconds: float) -> bool:
        done = await drain(seconds)
        await asyncio.to_thread(provider.force_flush, FLUSH_MS)
        tracing.use(None)
        return done

    return drained


class TraceRequests:
    """ASGI middleware: a span for every request, in the trace of its caller, whose `traceparent` the answer has too.

    Args:
        app: what is inside.
        provider: records the spans.
    """

    def __init__(self, app: ASGIApp, provider: "TracerProvider") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._app = app
        self._tracer = provider.get_tracer(SERVICE)
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in UNTRACED:
            await self._app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind, Status, StatusCode

        carrier = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
            if name.lower() in (b"traceparent", b"tracestate")
        }
        method = scope["method"]
        parent = self._propagator.extract(carrier)
        with self._tracer.start_as_current_span(
            method,
            parent,
            SpanKind.SERVER,
            record_exception=False,  # messages quote what was sent
            set_status_on_exception=False,
        ) as span:
            own: dict[str, str] = {}
            self._propagator.inject(own)
            state = scope.setdefault("state", {})
            state[TRACE_ID] = format(span.get_span_context().trace_id, "032x")

            async def named(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(Status(StatusCode.ERROR))
                    MutableHeaders(scope=message).update(own)
                await send(message)

            token = TRACER.set(self._tracer)
            try:
                await self._app(scope, receive, named)
            finally:
                TRACER.reset(token)
                route = getattr(scope.get("route"), "path", "other")
                span.update_name(f"{method} {route}")
                span.set_attributes(
                    {
                        "http.request.method": method,
                        "http.route": route,
                        "choreo.request_id": state.get("request_id", ""),
                    }
                )
