"""Answers that are errors, as the errors of this library."""

import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

from choreo.client.wire import Answer
from choreo.errors import (
    AccessDenied,
    BackendUnavailable,
    ChoreoError,
    Conflict,
    DeadlineExceeded,
    ErrorAnswer,
    InvalidArtifact,
    InvalidInput,
    MissingDependency,
    NonFiniteOutput,
    NotFound,
    Overloaded,
    ServerFailed,
    UnexpectedAnswer,
)

MEDIA_TYPE: Final = "application/problem+json"
MAX_DETAIL: Final = 300
MAX_RETRY_S: Final = 3600.0
"""Longest wait that a server may ask for."""
_KIND: Final = re.compile(r"urn:choreo:problem:([a-z0-9-]{1,64})")
_OF_KIND: Final[dict[str, type[ChoreoError]]] = {
    "non-finite-output": NonFiniteOutput,
    "invalid-artifact": InvalidArtifact,
    "missing-dependency": MissingDependency,
}
_OF_STATUS: Final[dict[int, type[ChoreoError]]] = {
    HTTPStatus.UNAUTHORIZED: AccessDenied,
    HTTPStatus.FORBIDDEN: AccessDenied,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.GONE: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.REQUEST_TIMEOUT: DeadlineExceeded,
    HTTPStatus.GATEWAY_TIMEOUT: DeadlineExceeded,
    HTTPStatus.BAD_GATEWAY: BackendUnavailable,
    HTTPStatus.SERVICE_UNAVAILABLE: BackendUnavailable,
}
_REFUSED: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)


def error_of(answer: Answer) -> ChoreoError:
    """The error that an answer is. Its notes have the request's id, by which the server's log is searched."""
    document = _document(answer)
    error = error_of_problem(answer.status, document, retry_after_s(answer))
    request_id = plain(document.get("instance")) or plain(answer.headers.get("x-request-id"))
    if request_id:
        error.add_note(f"request {request_id}")
    return error


def error_of_problem(status: int, problem: dict[str, Any], retry_s: float | None = None) -> ChoreoError:
    """The error that a problem document (RFC 9457) of a status is.

    Args:
        retry_s: seconds after which the request may be repeated, if the server said so.
    """
    kind = _KIND.fullmatch(str(problem.get("type", ""))[:128])
    error = _error(status, problem, "" if kind is None else kind[1], retry_s)
    error.answer = ErrorAnswer(status, "" if kind is None else kind[1], retry_s)
    return error


def _error(status: int, problem: dict[str, Any], kind: str, retry_s: float | None) -> ChoreoError:
    detail = plain(problem.get("detail")) or f"the server answered {status} and gave no reason"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Overloaded(round(retry_s or 1), detail, plain(problem.get("limit")))
    if status in _REFUSED:
        field = plain(problem.get("field")) or "body"
        return InvalidInput(field, detail.removeprefix(f"{field}: "))
    if kind in _OF_KIND:
        return _OF_KIND[kind](detail)
    if status in _OF_STATUS:
        return _OF_STATUS[status](detail)
    return ServerFailed(detail) if status >= HTTPStatus.INTERNAL_SERVER_ERROR else UnexpectedAnswer(detail)


def retry_after_s(answer: Answer) -> float | None:
    """Seconds of the Retry-After header, which has seconds or a date; None without a usable one."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_S)
    try:
        date = parsedate_to_datetime(text)
        seconds = (date - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_S)


def plain(value: Any) -> str:
    """Text from a server, fit to be shown: one line, printable and not long; empty for anything but text."""
    if not isinstance(value, str):
        return ""
    return "".join(c if c.isprintable() else " " for c in value[:MAX_DETAIL])


def _document(answer: Answer) -> dict[str, Any]:
    """The members of a problem document; none where the answer holds none."""
    if answer.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        return {}
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
