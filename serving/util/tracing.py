"""Spans of what is going on, if anybody records them.

OpenTelemetry is imported only where its standard variables switch traces on. Everywhere else a span costs the look at
one variable.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from choreo.errors import InvalidInput, MissingDependency

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

log = logging.getLogger(__name__)

EXPORTER: Final = "OTEL_TRACES_EXPORTER"
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
SERVICE: Final = "choreo"
FLUSH_MS: Final = 3000
Attribute = str | int | float
Carrier = tuple[str, str]
"""`traceparent` and `tracestate` of the W3C."""

TRACER: ContextVar[Any] = ContextVar("choreo_tracer", default=None)
"""The `opentelemetry.trace.Tracer` of what is traced; tasks that it starts inherit it."""
_provider: "TracerProvider | None" = None
_tracer: Any = None
"""Of this process, for traces that begin or go on in it."""


def make_provider(environ: Mapping[str, str], component: str = "") -> "TracerProvider | None":
    """What records spans and sends them by OTLP over HTTP; None unless the variables ask for it.

    Args:
        environ: the variables, which the exporter also reads from the environment of the process.
        component: what this process is, for the attribute `choreo.component` of the resource.

    Raises:
        InvalidInput: they ask for another exporter.
        MissingDependency: OpenTelemetry is not installed.
    """
    named = environ.get(EXPORTER, "")
    off = named == "none" or environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if off or not (named or any(environ.get(name) for name in ENDPOINTS)):
        return None
    if named not in ("", "otlp"):
        raise InvalidInput(EXPORTER, f"must be otlp or none, got {named[:32]!r}")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise MissingDependency("traces need opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http") from error
    # Resource.create reads OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME, which go before this name.
    about = {} if environ.get("OTEL_SERVICE_NAME") else {"service.name": SERVICE}
    if component:
        about["choreo.component"] = component
    provider = TracerProvider(resource=Resource.create(about))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def use(provider: "TracerProvider | None") -> None:
    """Record the traces that begin in this process by a provider, or no more."""
    global _provider, _tracer
    _provider, _tracer = provider, None if provider is None else provider.get_tracer(SERVICE)


def begin(environ: Mapping[str, str], component: str) -> None:
    """Record spans in this process if the variables ask for it. Nothing that is wrong with them stops the process."""
    if _provider is None:
        try:
            use(make_provider(environ, component))
        except Exception as error:  # the SDK raises whatever a variable that cannot be read leads to
            log.warning("there are no traces of the %s: %s", component, error)


def is_on() -> bool:
    """Whether this process records spans."""
    return _tracer is not None


def flush(milliseconds: int = FLUSH_MS) -> None:
    """Send what was recorded. Blocking, for at most so long."""
    if _provider is not None:
        _provider.force_flush(milliseconds)


@contextmanager
def span(name: str, **attributes: Attribute) -> Iterator[None]:
    """A part of what is traced; `choreo.` goes before the names of attributes."""
    tracer = TRACER.get()
    if tracer is None:
        yield
        return
    with _recorded(tracer, name, attributes):
        yield


@contextmanager
def root(name: str, origin: str = "", **attributes: Attribute) -> Iterator[None]:
    """The beginning of a trace, unless it is a part of one that is going on.

    Args:
        origin: `traceparent` of another trace that it is linked to.
    """
    if _tracer is None or TRACER.get() is not None:
        with span(name, **attributes):
            yield
        return
    from opentelemetry.context import Context

    linked = _remote_span((origin, "")) if origin else None
    with _recorded(_tracer, name, attributes, context=Context(), links=_links([linked] if linked else [])):
        yield


@contextmanager
def continued(carrier: Carrier, name: str) -> Iterator[None]:
    """A call from another process, in the trace that its caller was in; nothing if this process records none."""
    if _tracer is None or not carrier[0]:
        yield
        return
    from opentelemetry.trace import SpanKind

    with _recorded(_tracer, name, {}, context=_context(carrier), kind=SpanKind.SERVER):
        yield


@contextmanager
def shared(name: str, members: Sequence[Any], **attributes: Attribute) -> Iterator[None]:
    """Work for several traces at a time: a span in the first one of them, with links to all.

    Args:
        members: what `current` returned in each.
    """
    if _tracer is None or not members:
        yield
        return
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    parent = set_span_in_context(NonRecordingSpan(members[0]))
    with _recorded(_tracer, name, attributes, context=parent, links=_links(members)):
        yield


def past(name: str, began: float, seconds: float) -> None:
    """A part that has ended, which another process or thread has measured.

    Args:
        began: instant of `time.time`.
    """
    if (tracer := TRACER.get()) is not None:
        start = int(began * 1e9)
        tracer.start_span(name, start_time=start).end(end_time=start + int(seconds * 1e9))


def note(**attributes: Attribute) -> None:
    """Add attributes, `choreo.` before their names, to the part that is going on."""
    if TRACER.get() is not None:
        from opentelemetry.trace import get_current_span

        get_current_span().set_attributes(_named(attributes))


def failed(error: BaseException) -> None:
    """Say that the part that is going on has ended in an error: its type, because messages quote what was sent."""
    if TRACER.get() is not None:
        from opentelemetry.trace import Status, StatusCode, get_current_span

        ended = get_current_span()
        ended.set_attribute("error.type", type(error).__name__)
        if not isinstance(error, InvalidInput):  # which is the caller's
            ended.set_status(Status(StatusCode.ERROR))


def current() -> Any:
    """The `SpanContext` of the part that is going on; None where it is not recorded."""
    if TRACER.get() is None:
        return None
    from opentelemetry.trace import get_current_span

    found = get_current_span().get_span_context()
    return found if found.is_valid and found.trace_flags.sampled else None


def carrier() -> Carrier:
    """What a call to another process takes along; empty where nothing is traced."""
    if TRACER.get() is None:
        return "", ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    own: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(own)
    return own.get("traceparent", ""), own.get("tracestate", "")


def ids() -> tuple[str, str]:
    """Trace and span id of what is going on, in hexadecimal; empty where nothing is traced."""
    if TRACER.get() is None:
        return "", ""
    from opentelemetry.trace import get_current_span

    found = get_current_span().get_span_context()
    return (format(found.trace_id, "032x"), format(found.span_id, "016x")) if found.is_valid else ("", "")


@contextmanager
def _recorded(tracer: Any, name: str, attributes: Mapping[str, Attribute], **given: Any) -> Iterator[None]:
    quiet = {"record_exception": False, "set_status_on_exception": False}
    with tracer.start_as_current_span(name, attributes=_named(attributes), **quiet, **given):
        token = TRACER.set(tracer)
        try:
            yield
        except Exception as error:
            failed(error)
            raise
        finally:
            TRACER.reset(token)


def _named(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    return {f"choreo.{name}": value for name, value in attributes.items()}


def _context(carrier: Carrier) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    headers = {"traceparent": carrier[0], "tracestate": carrier[1]}
    return TraceContextTextMapPropagator().extract(headers, context=Context())


def _remote_span(carrier: Carrier) -> Any:
    from opentelemetry.trace import get_current_span

    found = get_current_span(_context(carrier)).get_span_context()
    return found if found.is_valid else None


def _links(members: Sequence[Any]) -> list[Any]:
    from opentelemetry.trace import Link

    return [Link(member) for member in members]
