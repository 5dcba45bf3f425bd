"""What became of an item: its row in the results, and which errors are its own rather than the run's."""

import errno
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from choreo.errors import AccessDenied, BackendUnavailable, ChoreoError, InvalidArtifact, NotSaved
from serving.batch.catalog import CatalogRow
from serving.http.problems import problem_of

MAX_MESSAGE: Final = 300
"""Characters of an error's message: it may quote what was in the catalog."""
WORKER_DIED: Final = "worker-died"
FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class RunStopped(ChoreoError, RuntimeError):
    """The run cannot go on; the message says why. The same command continues it."""


@dataclass(frozen=True)
class Outcome:
    """One item that was tried.

    Attributes:
        row: its line of results.jsonl, without the end of the line.
    """

    index: int
    succeeded: bool
    row: bytes


def success(row: CatalogRow, files: dict[str, str], meta: dict[str, Any]) -> Outcome:
    """Of an item with its files, by format, relative to the folder of results."""
    return _outcome(row, True, {"status_code": int(HTTPStatus.OK), "files": files, "meta": meta}, None)


def failure(row: CatalogRow, error: Exception) -> Outcome:
    """Of an item that cannot be danced. The status is the one that the server would answer, or has answered."""
    problem = problem_of(error)
    status, kind = int(problem.status), problem.kind
    if isinstance(error, ChoreoError) and error.answer is not None:
        status, kind = error.answer.status, error.answer.kind or kind
    message = str(error) if isinstance(error, ChoreoError) else f"{type(error).__name__}: {error}"
    return _failed(row, status, kind, message, problem.field)


def worker_died(row: CatalogRow) -> Outcome:
    """Of an item whose worker died whenever it had it alone."""
    message = "the process that made it was killed each time; it may need more memory than there is"
    return _failed(row, int(HTTPStatus.INTERNAL_SERVER_ERROR), WORKER_DIED, message, None)


def stops_run(error: Exception) -> bool:
    """Whether an error would meet every other item as well, so that the run cannot go on."""
    if isinstance(error, OSError) and not isinstance(error, ChoreoError) and error.errno in FULL:
        return True
    return isinstance(error, AccessDenied | BackendUnavailable | InvalidArtifact | NotSaved | MemoryError)


def _failed(row: CatalogRow, status: int, code: str, message: str, field: str | None) -> Outcome:
    text = " ".join(message.split())
    error: dict[str, Any] = {"code": code, "message": text[:MAX_MESSAGE], "line": row.line}
    if field is not None:
        error["field"] = field[:64]
    return _outcome(row, False, {"status_code": status, "files": {}, "meta": None}, error)


def _outcome(row: CatalogRow, succeeded: bool, response: dict[str, Any], error: dict[str, Any] | None) -> Outcome:
    # ASCII: quoted fields may hold what UTF-8 cannot encode.
    line = json.dumps({"custom_id": row.custom_id, "response": response, "error": error}, allow_nan=False)
    return Outcome(row.index, succeeded, line.encode("ascii"))
