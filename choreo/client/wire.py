"""What the protocol is made of, apart from any network: requests, answers, and the flows that a transport runs.

A flow is a generator: it yields steps (send this request, pause, do this work), gets the outcome of each, and returns a
result. Both clients run the same flows, one with blocking calls and one in an event loop.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from choreo.client.uploads import Progress, Upload

T = TypeVar("T")

MAX_ANSWER_BYTES: Final = 1 << 30
"""Largest answer; it is kept in memory."""


@dataclass(frozen=True)
class Request:
    """One HTTP request.

    Attributes:
        method, path: the path is below the server's address and begins with a slash.
        timeout_s: seconds until its answer must be there.
        query, headers: beside those that every request has.
        json: the body as a JSON value; None: not JSON.
        form: scalar fields of a form.
        uploads: file parts of a form; with any, the body is a form.
        progress: told how much of the uploads has been sent.
        limit: bytes of the largest answer.
    """

    method: str
    path: str
    timeout_s: float
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    form: Mapping[str, str] = field(default_factory=dict)
    uploads: tuple[Upload, ...] = ()
    progress: Progress | None = None
    limit: int = MAX_ANSWER_BYTES


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; `headers` finds names in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Pause:
    """Wait for some seconds."""

    seconds: float


@dataclass(frozen=True)
class Work:
    """Call a function that may take its time; an event loop does so in a thread."""

    function: Callable[[], Any]


class Unreachable(Exception):
    """Sending a request brought no answer.

    Args:
        reason: for people.
        sent: whether the server may have received it.
        late: whether time ran out.
    """

    def __init__(self, reason: str, *, sent: bool, late: bool = False) -> None:
        super().__init__(reason)
        self.sent = sent
        self.late = late


Step = Request | Pause | Work
Flow = Generator[Step, Any, T]


def send(request: Request) -> Flow[Answer]:
    """The answer to a request.

    Raises:
        Unreachable: there is none.
    """
    answer: Answer = yield request
    return answer


def work(function: Callable[[], T]) -> Flow[T]:
    """The result of a function that may take its time."""
    result: T = yield Work(function)
    return result
