"""When a request is sent again, and for how long."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from choreo.client.problems import error_of, retry_after_s
from choreo.client.wire import Answer, Flow, Pause, Request, Unreachable, send
from choreo.errors import BackendUnavailable, ChoreoError, ConnectionLost, DeadlineExceeded, UnexpectedAnswer

T = TypeVar("T")

BUSY: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class Retries(BaseModel):
    """How often and how patiently requests are repeated; never beyond their deadline.

    Attributes:
        busy: times after an answer 429 or 503. The server's Retry-After says when, else the pauses double.
        lost: times after a connection failed.
        first_s, longest_s: pauses, before jitter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    busy: int = Field(600, ge=0)
    lost: int = Field(4, ge=0)
    first_s: float = Field(0.5, gt=0)
    longest_s: float = Field(30.0, gt=0)

    def pause(self, attempt: int, asked_s: float | None, jitter: float) -> float:
        """Seconds before the next attempt.

        Args:
            attempt: how many have failed before.
            asked_s: what the server asked for.
            jitter: 0 to 1, so that many clients do not come back together.
        """
        if asked_s is not None:
            return asked_s + jitter * max(asked_s, 1.0) / 2
        return float(min(self.longest_s, self.first_s * 2.0 ** min(attempt, 32))) * (0.5 + jitter / 2)


@dataclass(frozen=True)
class Deadline:
    """A point in time after which a result is of no use.

    Attributes:
        seconds: from its beginning.
        end: when it passes, in seconds of `clock`.
        clock: monotonic.
    """

    seconds: float
    end: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> "Deadline":
        """The deadline so many seconds from now."""
        return cls(seconds, clock() + seconds, clock)

    @property
    def left_s(self) -> float:
        """Seconds until it passes; not positive once it has passed."""
        return self.end - self.clock()


def exchange(
    make: Callable[[float], Request],
    read: Callable[[Answer], T],
    deadline: Deadline,
    retries: Retries,
    repeatable: bool = True,
) -> Flow[T]:
    """Send a request until there is an answer, and read it.

    Args:
        make: the request of the seconds that are left.
        read: the result of an answer that is no error.
        deadline: bounds all attempts and the pauses between them.
        retries: how often it is repeated.
        repeatable: whether it does no harm if the server receives it twice. If it does, it is only repeated where the
            server cannot have begun with it.

    Raises:
        BackendUnavailable: no connection could be made or kept.
        DeadlineExceeded: there was no answer in time.
        ChoreoError: the error that the server answered with.
    """
    busy = lost = 0
    while True:
        left = deadline.left_s
        if left <= 0:
            raise _late(deadline)
        try:
            answer = yield from send(make(left))
        except Unreachable as error:
            if error.late:
                raise _late(deadline) from error
            failure: ChoreoError = ConnectionLost(str(error)) if error.sent else BackendUnavailable(str(error))
            again = lost < retries.lost and (repeatable or not error.sent)
            pause = retries.pause(lost, None, random.random())
            lost += 1
        else:
            if answer.status < HTTPStatus.MULTIPLE_CHOICES:
                return read(answer)
            failure = _failure(answer)
            again = answer.status in BUSY and busy < retries.busy
            pause = retries.pause(busy, retry_after_s(answer), random.random())
            busy += 1
        if not again or pause >= deadline.left_s:
            raise failure
        yield Pause(pause)


def _failure(answer: Answer) -> ChoreoError:
    if answer.status < HTTPStatus.BAD_REQUEST:
        return UnexpectedAnswer(f"the server answers {answer.status} and redirects; give the address that it leads to")
    return error_of(answer)


def _late(deadline: Deadline) -> DeadlineExceeded:
    return DeadlineExceeded(f"there was no answer within {deadline.seconds:g} s; give a longer timeout_s")
