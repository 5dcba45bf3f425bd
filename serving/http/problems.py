"""Errors as RFC 9457 problem documents: which status an error means, and what of it the caller may see."""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from choreo.errors import (
    BackendUnavailable,
    ChoreoError,
    DeadlineExceeded,
    InvalidArtifact,
    InvalidInput,
    MissingDependency,
    NonFiniteOutput,
    NotSaved,
)
from choreo.files import disk_is_full
from serving.errors import Interrupted, NotReady, Overloaded, StoreUnavailable

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
MAX_DETAIL = 300
"""Characters of a detail: messages may quote what was sent, which may be megabytes."""
MAX_FIELD = 64
PROBLEM = "problem"
"""Where the state of a request has the problem that it was answered with."""
_PATH = re.compile(r"(?<![\w:/.])/[^\s'\"]+")


class HttpProblem(ChoreoError):
    """An error that exists only at the edge and knows its own status.

    Args:
        status: the HTTP status.
        kind: last part of the problem's type.
        message: one sentence for the caller.
        field: the field or header at fault, if there is one.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: HTTPStatus,
        kind: str,
        message: str,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, kind, message, field, headers)
        self.problem = Problem(status, kind, message, field, headers)

    def __str__(self) -> str:
        return self.problem.detail


@dataclass(frozen=True)
class Problem:
    """One problem, ready to be sent.

    Attributes:
        field: the field or header at fault.
        limit: name of the limit that was reached.
    """

    status: HTTPStatus
    kind: str
    detail: str
    field: str | None = None
    headers: Mapping[str, str] | None = None
    limit: str | None = None

    def document(self, request_id: str) -> dict[str, Any]:
        """The members of the problem document."""
        document = {
            "type": f"urn:choreo:problem:{self.kind}",
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": _cut(self.detail, MAX_DETAIL),
            "instance": request_id,
        }
        more = {"field": _cut(self.field, MAX_FIELD) if self.field else None, "limit": self.limit}
        return document | {name: value for name, value in more.items() if value}

    def response(self, request_id: str) -> Response:
        """The HTTP answer."""
        # ASCII: a quoted field may hold lone surrogates, which UTF-8 cannot.
        body = json.dumps(self.document(request_id), ensure_ascii=True).encode()
        return Response(body, int(self.status), headers=dict(self.headers or {}), media_type=MEDIA_TYPE)


def problem_of(error: Exception) -> Problem:
    """The problem that an error is to the caller. What is not the caller's business is not in it."""
    match error:
        case HttpProblem():
            return error.problem
        case InvalidInput():
            return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-input", str(error), error.field)
        case Overloaded():
            headers = {"Retry-After": str(error.retry_after_s)}
            detail = f"{error}; retry later"
            return Problem(
                HTTPStatus.TOO_MANY_REQUESTS, "overloaded", detail, headers=headers, limit=error.limit or None
            )
        case MissingDependency():
            detail = _PATH.sub("…", str(error))  # what is missing, but not where it was looked for
            return Problem(HTTPStatus.NOT_IMPLEMENTED, "missing-dependency", detail)
        case Interrupted():
            return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "interrupted", str(error))
        case StoreUnavailable():
            detail = "the store of jobs cannot be reached; retry later"
            headers = {"Retry-After": "5"}
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "store-unavailable", detail, headers=headers)
        case BackendUnavailable():
            detail = "an inference server cannot answer now; retry later"
            headers = {"Retry-After": "2"}
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "backend-unavailable", detail, headers=headers)
        case DeadlineExceeded():
            detail = "the result was not ready before the request's deadline; give a longer timeout or a faster preset"
            return Problem(HTTPStatus.GATEWAY_TIMEOUT, "deadline-exceeded", detail)
        case NonFiniteOutput():
            detail = "the model produced NaN or infinity; the result was withheld"
            return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "non-finite-output", detail)
        case InvalidArtifact():
            detail = "a model or library on the server is broken"
            return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "invalid-artifact", detail)
        case HTTPException():
            return _http_problem(error)
        case OSError() if isinstance(error, NotSaved) or disk_is_full(error):
            detail = "the server has no room on its disk for what this request needs; retry later"
            headers = {"Retry-After": "60"}
            return Problem(HTTPStatus.INSUFFICIENT_STORAGE, "no-space", detail, headers=headers)
        case RequestValidationError():
            first = error.errors()[0]
            name = str(first["loc"][-1]) if first["loc"] else "body"
            return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-input", f"{name}: {first['msg']}", name)
    detail = "the server failed; its log has the details under this request's id"
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail)


def answer(error: Exception, request_id: str) -> Response:
    """Log an error as it deserves and make its HTTP answer."""
    problem = problem_of(error)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        unexpected = not isinstance(error, ChoreoError)
        # Probes come every few seconds, and whoever sends them sees the answer.
        level = logging.ERROR if unexpected else logging.INFO if isinstance(error, NotReady) else logging.WARNING
        log.log(level, "request %s failed: %s: %s", request_id, type(error).__name__, error, exc_info=unexpected)
    return problem.response(request_id)


def install_handlers(app: FastAPI) -> None:
    """Make every error that reaches the framework a problem document."""

    async def handle(request: Request, error: Exception) -> Response:
        setattr(request.state, PROBLEM, problem_of(error))
        return answer(error, request.state.request_id)

    for kind in (ChoreoError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, handle)


def _http_problem(error: HTTPException) -> Problem:
    status = HTTPStatus(error.status_code)
    kind = status.phrase.lower().replace(" ", "-")
    detail = str(error.detail) if error.detail != status.phrase else f"{status.phrase.lower()}: see /docs"
    field = "body" if status is HTTPStatus.BAD_REQUEST else None
    return Problem(status, kind, detail, field, error.headers)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
