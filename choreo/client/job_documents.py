"""Jobs and their results as a server describes them."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import Field

from choreo.client.answers import Document, document_of
from choreo.client.problems import error_of_problem
from choreo.client.wire import Answer
from choreo.errors import ChoreoError, UnexpectedAnswer

ENDED: Final = ("succeeded", "failed", "cancelled")
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Of jobs, as far as they are put into paths."""


class JobCounts(Document):
    """How many requests of a job are in which state."""

    total: int
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


class JobStatus(Document):
    """A job at some time.

    Attributes:
        state: queued, running, succeeded, failed or cancelled. A job succeeds also if some of its requests fail.
        progress: share of the requests that have ended.
        bytes: of its songs and results.
    """

    id: str = Field(pattern=f"^{ID.pattern}$")
    state: str
    counts: JobCounts
    progress: float
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    bytes: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED


class JobPage(Document):
    """A page of jobs; `next` is the cursor of the one after it."""

    jobs: tuple[JobStatus, ...]
    next: str | None


class JobFile(Document):
    """A file that a request of a job left; its name is one part of a path."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,80}$")
    media_type: str = ""
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class _Response(Document):
    status_code: int = 0
    files: tuple[JobFile, ...] = ()
    meta: dict[str, Any] = Field(default_factory=dict)


class _Line(Document):
    index: int = Field(ge=0)
    custom_id: str | None = None
    state: str
    response: _Response | None = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class JobResult:
    """What became of one request of a job.

    Attributes:
        index: its place in the job, from 0.
        custom_id: the submitter's name of it.
        state: queued, running, succeeded, failed or cancelled.
        files: what it left.
        meta: seed, model, frames, seconds, rows and notes, and of several samples their scores and how many failed.
        error: what it ended in.
    """

    index: int
    custom_id: str | None
    state: str
    files: tuple[JobFile, ...]
    meta: dict[str, Any]
    error: ChoreoError | None
    document: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.state == "succeeded"


def read_results(answer: Answer) -> tuple[JobResult, ...]:
    """The lines of a page of results.

    Raises:
        UnexpectedAnswer: a line is something else.
    """
    return tuple(_result(line) for line in answer.body.split(b"\n") if line.strip())


def _result(text: bytes) -> JobResult:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswer("a line of results is not JSON") from error
    line = document_of(_Line, value)
    response = line.response or _Response()
    failure = None if line.error is None else error_of_problem(_status(line.error, response.status_code), line.error)
    return JobResult(line.index, line.custom_id, line.state, response.files, response.meta, failure, value)


def _status(problem: dict[str, Any], default: int) -> int:
    status = problem.get("status", default)
    return status if isinstance(status, int) else default
