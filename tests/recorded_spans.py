"""Spans of this process, recorded in memory by OpenTelemetry's own exporter."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from serving.util import tracing


class Recorded:
    """The spans that have ended."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter

    def all(self) -> list[Any]:
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[Any]:
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> Any:
        (found,) = self.named(name)
        return found


def parent_of(span: Any) -> int | None:
    return None if span.parent is None else int(span.parent.span_id)


def id_of(span: Any) -> int:
    return int(span.context.span_id)


@contextmanager
def recorded_spans() -> Iterator[Recorded]:
    """Everything that begins or goes on in this process is recorded inside."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    try:
        yield Recorded(exporter)
    finally:
        tracing.use(None)
        provider.shutdown()
