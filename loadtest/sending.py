"""What open and closed loops share: a clock, and sending one request."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol, TypeVar

from loadtest.samples import Answer, Outcome, Sample


class Kinded(Protocol):
    """A request with a kind."""

    @property
    def kind(self) -> str:
        """Name by which figures are grouped."""
        ...


R = TypeVar("R", bound=Kinded)
Send = Callable[[R], Awaitable[Answer]]
Record = Callable[[Sample], None]
Clock = Callable[[], float]


def clock_from_now() -> Clock:
    """A clock of the seconds since this call."""
    began = time.perf_counter()
    return lambda: time.perf_counter() - began


def ignore(sample: Sample) -> None:
    """Record nothing, for callers that use only the returned samples."""


async def timed(send: Send[R], request: R, index: int, intended: float, clock: Clock) -> tuple[Sample, Answer]:
    """Send a request; an exception of `send` is a failed request, a cancellation an unfinished one."""
    started = clock()
    try:
        answer = await send(request)
    except asyncio.CancelledError:  # only the loop cancels its tasks, and it needs their samples
        answer = Answer(Outcome.UNFINISHED)
    except Exception as error:
        answer = Answer(Outcome.FAILED, error=type(error).__name__)
    return Sample.of(index, request.kind, (intended, started, clock()), answer), answer


async def sleep_unless(stop: asyncio.Event, seconds: float) -> bool:
    """Sleep; False as soon as `stop` is set."""
    if seconds <= 0:
        await asyncio.sleep(0)
        return not stop.is_set()
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return True
    return False


async def finished(tasks: Collection[asyncio.Task[None]], stop: asyncio.Event) -> None:
    """Wait for the tasks, or cancel them when `stop` is set; raise what a task raises."""
    stopped = asyncio.create_task(stop.wait())
    everything = asyncio.gather(*tasks, return_exceptions=True)
    everything.add_done_callback(lambda _: stopped.cancel())
    try:
        await asyncio.wait([stopped])
        await asyncio.sleep(0)  # a task that is cancelled before its first step would leave no sample
    finally:
        stopped.cancel()
        for task in tasks:
            task.cancel()
    for outcome in await everything:
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome
