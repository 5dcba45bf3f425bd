"""What a call to another process takes along: which request it is for, and the trace that it is in."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from serving.util import logs, tracing


class CallContext(NamedTuple):
    """Of one call; a plain tuple, because it is pickled with every one."""

    request_id: str
    job_id: str
    model: str
    traceparent: str
    tracestate: str


def outgoing() -> CallContext | None:
    """What a call takes along that is made now; None where nothing is known, as for a canary."""
    known, carrier = logs.context(), tracing.carrier()
    if not (known.request_id or carrier[0]):
        return None
    return CallContext(known.request_id, known.job_id, known.model, *carrier)


@contextmanager
def incoming(context: CallContext, name: str) -> Iterator[None]:
    """Inside, log lines and spans belong to the request of a call.

    Args:
        name: of the span, such as `SampleStage/sample`.
    """
    known = logs.about(request_id=context.request_id, job_id=context.job_id, model=context.model)
    with known, tracing.continued((context.traceparent, context.tracestate), name):
        yield
