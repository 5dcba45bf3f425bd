"""A receiver of traces by OTLP over HTTP, as a collector is one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class ReceivedSpan:
    """A span, with the attributes of the process that it is from."""

    resource: dict[str, str]
    span: Any

    @property
    def name(self) -> str:
        return str(self.span.name)

    @property
    def trace_id(self) -> str:
        return str(self.span.trace_id.hex())

    @property
    def attributes(self) -> dict[str, Any]:
        kinds = ((a.key, a.value.WhichOneof("value"), a.value) for a in self.span.attributes)
        return {key: getattr(value, kind) for key, kind, value in kinds}


@dataclass
class OtlpReceiver:
    """What came, and where it is sent to; `environment` points exporters here."""

    url: str
    spans: list[ReceivedSpan] = field(default_factory=list)
    status: int = 200

    @property
    def environment(self) -> dict[str, str]:
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_EXPORTER_OTLP_COMPRESSION": "none"}


@contextmanager
def otlp_receiver() -> Iterator[OtlpReceiver]:
    """One that listens on a free port."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            for process in message.resource_spans:
                resource = {a.key: a.value.string_value for a in process.resource.attributes}
                receiver.spans.extend(ReceivedSpan(resource, s) for scope in process.scope_spans for s in scope.spans)
            self.send_response(receiver.status)
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = OtlpReceiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
