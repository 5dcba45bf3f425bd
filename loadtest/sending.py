"""What both loops share: a clock, and the sending of one request."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol, TypeVar

from loadtest.samples import Answer, Outcome, Sample


class Kinded(Protocol):
    """A request that says what kind it is."""

    @property
    def kind(self) -> str:
        """Short name; figures are given by kind."""
        ...


R = TypeVar("R", bound=Kinded)
Send = Callable[[R], Awaitable[Answer]]
Record = Callable[[Sample], None]
Clock = Callable[[], float]


def clock_from_now() -> Clock:
    """Seconds since this call."""
    began = time.perf_counter()
    return lambda: time.perf_counter() - began


def ignore(sample: Sample) -> None:
    """A record of nothing, for callers that want the samples at the end only."""


async def timed(send: Send[R], request: R, index: int, intended: float, clock: Clock) -> tuple[Sample, Answer]:
    """Send a request. What `send` raises is a failed request; a cancelled one is unfinished, and the loop's to end."""
    started = clock()
    try:
        answer = await send(request)
    except asyncio.CancelledError:  # only the loop cancels its tasks, and it wants their samples
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
    """Wait for the tasks, but cancel them as soon as `stop` is set. What a task raises is raised here."""
    stopped = asyncio.create_task(stop.wait())
    everything = asyncio.gather(*tasks, return_exceptions=True)
    everything.add_done_callback(lambda _: stopped.cancel())
    try:
        await asyncio.wait([stopped])
        await asyncio.sleep(0)  # a task that is cancelled before it began would leave no sample
    finally:
        stopped.cancel()
        for task in tasks:
            task.cancel()
    for outcome in await everything:
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome
