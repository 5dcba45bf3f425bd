"""Log lines of every process: their one shape, what they know of the request that is worked on, and where they go.

As text they are for a person at a terminal; as JSON, one object a line, for what collects logs.
"""

import json
import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

from serving.util import tracing
from serving.util.log_socket import LogSocketHandler

FIELDS: Final = "fields"
"""Attribute of a record, given by `extra`, with further members of its JSON object."""
MAX_CHARS: Final = 6_000
"""Longest message, and longest traceback; of a longer one the end is kept, which says what went wrong. A line with
three such texts, escaped, fits `serving.util.log_socket.MAX_BYTES`."""
TEXT: Final = "%(levelname)s %(message)s"
OWN: Final = ("serving", "choreo", "retrieval", "export")
"""Loggers that may be asked for DEBUG; libraries say nothing below INFO, because some would say it for every call."""
CHATTY: Final = ("httpx", "httpcore")
"""Loggers that have a line of level INFO for every probe."""
FOREIGN: Final = ("ray.serve", "ray")
"""Loggers with handlers of their own, whose lines have another shape."""


@dataclass(frozen=True)
class LogOptions:
    """How a process logs.

    Attributes:
        json: one JSON object a line, instead of text.
        level: least level that is logged: debug, info, warning or error.
        component: what the process is: serve, ingress, encoder and so on.
        socket: of a `LogReceiver` that writes the lines; empty: standard error of this process.
    """

    json: bool = False
    level: str = "warning"
    component: str = "choreo"
    socket: str = ""

    def of(self, component: str) -> "LogOptions":
        """The same for another process."""
        return replace(self, component=component)


@dataclass(frozen=True)
class LogContext:
    """What is known of the work that a line is about; empty where it is not."""

    request_id: str = ""
    job_id: str = ""
    model: str = ""


NOTHING: Final = LogContext()
_CONTEXT: ContextVar[LogContext] = ContextVar("choreo_log_context", default=NOTHING)
_options = LogOptions()
_handler: logging.Handler | None = None


def context() -> LogContext:
    """What is known of the work that is going on."""
    return _CONTEXT.get()


@contextmanager
def about(**known: str) -> Iterator[None]:
    """Inside, lines say in addition what they are about; the names are those of `LogContext`."""
    token = _CONTEXT.set(replace(_CONTEXT.get(), **known))
    try:
        yield
    finally:
        _CONTEXT.reset(token)


def configure(options: LogOptions) -> None:
    """Log so from now on, in this process; handlers of others stay."""
    global _options, _handler
    root, level = logging.getLogger(), logging.getLevelName(options.level.upper())
    if _handler is not None:
        root.removeHandler(_handler)
        _handler.close()
    # In the place of standard error Ray may have put a logger, whose lines would come back here.
    stderr = getattr(sys.stderr, "_original_object", sys.stderr)
    _options = options
    _handler = LogSocketHandler(options.socket) if options.socket else logging.StreamHandler(stderr)
    _handler.setFormatter(JsonFormatter(options.component) if options.json else logging.Formatter(TEXT))
    root.addHandler(_handler)
    root.setLevel(max(level, logging.INFO))
    for name in OWN:
        logging.getLogger(name).setLevel(level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(options.json)
    if options.json:
        sys.excepthook = _uncaught
        threading.excepthook = lambda given: _uncaught(given.exc_type, given.exc_value, given.exc_traceback)


def in_json() -> bool:
    """Whether this process logs JSON."""
    return _options.json


def options() -> LogOptions:
    """How this process logs."""
    return _options


def adopt_foreign() -> None:
    """Where lines are JSON, have those of Ray's loggers in the same shape; files that Ray keeps stay as they are.

    To be called once Ray has set its loggers up. They keep no handler that writes to standard error, because
    `ray.init` would give it Ray's format.
    """
    if not _options.json:
        return
    for name in FOREIGN:
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                logger.removeHandler(handler)
        logger.propagate = True
        logger.setLevel(max(logger.level, logging.getLogger().level))


def say(message: str, level: int = logging.INFO) -> bool:
    """Log something that a user must see whatever the level is, where lines are JSON.

    Returns:
        Whether that was done; where lines are text, the command has its own way to say it.
    """
    if not _options.json or _handler is None:
        return False
    _handler.handle(logging.LogRecord("serving", level, "", 0, message, None, None))
    return True


class ProcessLog(logging.Handler):
    """Logs records where this process logs, whatever the level is."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one."""
        if _handler is not None:
            _handler.handle(record)


class JsonFormatter(logging.Formatter):
    """Makes a line of JSON of a record.

    Args:
        component: what the process is.
    """

    def __init__(self, component: str) -> None:
        super().__init__()
        self._component = component

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end. Prompts and keys are in none that this program logs."""
        known = _CONTEXT.get()
        trace_id, span_id = tracing.ids()
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "component": self._component,
            "process": record.process,
            "message": _cut(record.getMessage()),
            "request_id": known.request_id,
            "trace_id": trace_id,
            "span_id": span_id,
            "job_id": known.job_id,
            "model": known.model,
        }
        line |= getattr(record, FIELDS, {})
        if record.exc_info and record.exc_info[0] is not None:
            kind, error, trace = record.exc_info
            line["exception"] = {
                "type": kind.__name__,
                "message": _cut(str(error)),
                "traceback": _cut("".join(traceback.format_exception(kind, error, trace))),
            }
        # ASCII: a message may hold lone surrogates, which UTF-8 cannot.
        return json.dumps({name: value for name, value in line.items() if value not in ("", None)}, default=str)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARS else "…" + text[1 - MAX_CHARS :]


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """A defect is a line as well."""
    if issubclass(kind, KeyboardInterrupt) or error is None:
        sys.__excepthook__(kind, error or kind(), trace)
        return
    logging.getLogger("serving").critical("uncaught %s", kind.__name__, exc_info=(kind, error, trace))
