"""Runs of requests: submitted, waited for, cancelled. The synchronous endpoint stands on this."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Generic, TypeVar

from choreo.errors import ChoreoError, DeadlineExceeded, InvalidInput
from serving.pipeline.admission import Admission
from serving.pipeline.request import MotionRequest

T = TypeVar("T")

GRACE_S = 1.0
"""What a stage gets beyond the deadline to notice it by itself, with a better message."""


class RunState(StrEnum):
    """Where a run is; it only moves down this list."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(eq=False)
class Run(Generic[T]):
    """One request under way."""

    request: MotionRequest
    state: RunState = RunState.QUEUED
    task: "asyncio.Task[T]" = field(init=False)

    @property
    def id(self) -> str:
        """The request's."""
        return self.request.request_id


class RunService:
    """Runs requests within the limits of admission and of their deadlines.

    Args:
        admission: how many run at a time.
        fetch: reads a song by its address.
        fields: names that an `InvalidInput` of a caller may have; others are defects of a stage.
    """

    def __init__(self, admission: Admission, fetch: Callable[[str], Awaitable[bytes]], fields: frozenset[str]) -> None:
        self._admission, self._fetch, self._fields = admission, fetch, fields

    def submit(self, request: MotionRequest, work: Callable[[MotionRequest], Awaitable[T]], url: str | None) -> Run[T]:
        """Begin `work` on a request as soon as it has a turn; `url` is where its song is fetched from, if anywhere."""
        run: Run[T] = Run(request)
        run.task = asyncio.ensure_future(self._do(run, work, url))
        return run

    async def wait(self, run: Run[T]) -> T:
        """The result of a run. A caller that is cancelled leaves the run going.

        Raises:
            DeadlineExceeded: its deadline passed.
            ChoreoError: what the work raised.
        """
        return await asyncio.shield(run.task)

    async def cancel(self, run: Run[T]) -> None:
        """End a run, wherever it has got to; one that has ended stays as it is."""
        run.task.cancel()
        await asyncio.gather(run.task, return_exceptions=True)
        if run.task.cancelled():
            run.state = RunState.CANCELLED  # one that had not begun has noticed nothing

    async def _do(self, run: Run[T], work: Callable[[MotionRequest], Awaitable[T]], url: str | None) -> T:
        deadline = run.request.deadline
        try:
            async with asyncio.timeout(max(deadline - time.time(), 0) + GRACE_S), self._admission.turn(deadline):
                run.state = RunState.RUNNING
                request = run.request
                if url is not None:
                    request = replace(request, audio=await self._fetch(url))
                result = await work(request)
        except asyncio.CancelledError:
            run.state = RunState.CANCELLED
            raise
        except Exception as error:
            run.state = RunState.FAILED
            if (cause := self._cause(error)) is error:
                raise
            raise cause from error
        run.state = RunState.SUCCEEDED
        return result

    def _cause(self, error: Exception) -> Exception:
        """The error as the caller sees it."""
        if isinstance(error, DeadlineExceeded):
            return error
        if isinstance(error, TimeoutError):
            return DeadlineExceeded("the deadline passed in a stage")
        if isinstance(error, InvalidInput) and error.field.split(".")[0] not in self._fields:
            return ChoreoError(f"a stage refused what another one made: {error}")
        return error
