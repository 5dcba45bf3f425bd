"""Runs of requests: submitted, waited for, cancelled. The synchronous endpoint stands on this."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from choreo.errors import BackendUnavailable, ChoreoError, DeadlineExceeded, InvalidInput
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
    unwanted: bool = False
    """Whether whoever submitted it has cancelled it."""
    task: "asyncio.Task[T]" = field(init=False)

    @property
    def id(self) -> str:
        """The request's."""
        return self.request.request_id


class RunObserver(Protocol):
    """Told of runs."""

    def waited(self, request: MotionRequest, seconds: float) -> None:
        """A request got its turn, or its deadline passed before it had one."""
        ...

    def missed(self, request: MotionRequest) -> None:
        """A deadline passed, in the queue or later."""
        ...


class RunService:
    """Runs requests within the limits of admission and of their deadlines.

    Args:
        admission: how many run at a time.
        fetch: reads a song by its address.
        fields: names that an `InvalidInput` of a caller may have; others are defects of a stage.
        observer: told of every run.
    """

    def __init__(
        self,
        admission: Admission,
        fetch: Callable[[str], Awaitable[bytes]],
        fields: frozenset[str],
        observer: RunObserver | None = None,
    ) -> None:
        self._admission, self._fetch, self._fields, self._observer = admission, fetch, fields, observer

    def submit(self, request: MotionRequest, work: Callable[[MotionRequest], Awaitable[T]], url: str | None) -> Run[T]:
        """Begin `work` on a request as soon as it has a turn; `url` is where its song is fetched from, if anywhere."""
        run: Run[T] = Run(request)
        run.task = asyncio.ensure_future(self._do(run, work, url))
        return run

    async def wait(self, run: Run[T]) -> T:
        """The result of a run. A caller that is cancelled leaves the run going.

        Raises:
            DeadlineExceeded: its deadline passed.
            BackendUnavailable: a stage gave it up, which nobody here had asked for.
            ChoreoError: what the work raised.
        """
        try:
            return await asyncio.shield(run.task)
        except asyncio.CancelledError as error:
            caller = asyncio.current_task()
            if run.unwanted or not run.task.cancelled() or (caller is not None and caller.cancelling()):
                raise
            # A replica that is stopped cancels its calls, and a caller who is still there must hear of it.
            raise BackendUnavailable("a stage gave up a request") from error

    async def cancel(self, run: Run[T]) -> None:
        """End a run, wherever it has got to; one that has ended stays as it is."""
        run.unwanted = True
        run.task.cancel()
        await asyncio.gather(run.task, return_exceptions=True)
        if run.task.cancelled():
            run.state = RunState.CANCELLED  # one that had not begun has noticed nothing

    async def _do(self, run: Run[T], work: Callable[[MotionRequest], Awaitable[T]], url: str | None) -> T:
        deadline, submitted = run.request.deadline, time.perf_counter()
        try:
            async with asyncio.timeout(max(deadline - time.time(), 0) + GRACE_S), self._admission.turn(deadline):
                run.state = RunState.RUNNING
                self._tell(run, submitted, None)
                request = run.request
                if url is not None:
                    request = replace(request, audio=await self._fetch(url))
                result = await work(request)
        except asyncio.CancelledError:
            run.state = RunState.CANCELLED
            raise
        except Exception as error:
            cause = self._cause(error)
            self._tell(run, submitted, cause)
            run.state = RunState.FAILED
            if cause is error:
                raise
            raise cause from error
        run.state = RunState.SUCCEEDED
        return result

    def _tell(self, run: Run[T], submitted: float, error: Exception | None) -> None:
        """Tell the observer that a run got its turn, or how it failed."""
        if self._observer is None:
            return
        if error is None or run.state is RunState.QUEUED:
            self._observer.waited(run.request, time.perf_counter() - submitted)
        if isinstance(error, DeadlineExceeded):
            self._observer.missed(run.request)

    def _cause(self, error: Exception) -> Exception:
        """The error as the caller sees it."""
        if isinstance(error, DeadlineExceeded):
            return error
        if isinstance(error, TimeoutError):
            return DeadlineExceeded("the deadline passed in a stage")
        if isinstance(error, InvalidInput) and error.field.split(".")[0] not in self._fields:
            return ChoreoError(f"a stage refused what another one made: {error}")
        return error
