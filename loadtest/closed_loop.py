"""A closed loop: a fixed number of users, each of whom sends the next request when the last one was answered."""

import asyncio
import itertools
from collections.abc import Callable

from loadtest.samples import Sample
from loadtest.sending import R, Record, Send, clock_from_now, finished, ignore, sleep_unless, timed


async def closed_loop(
    send: Send[R],
    request: Callable[[int], R],
    users: int,
    seconds: float,
    record: Record = ignore,
    stop: asyncio.Event | None = None,
) -> list[Sample]:
    """Let `users` users send requests for `seconds`, then wait for their last answers.

    A user who is turned away waits for as long as the server asks. This loop is for measurements in one process, such
    as benchmarks; `choreo loadtest` uses locust.

    Args:
        send: sends one request.
        request: makes the request of a number.
        record: is given every sample as soon as it exists.
        stop: ends the run when set; requests in flight become unfinished samples.

    Returns:
        The samples in the order in which they ended.
    """
    stop = stop or asyncio.Event()
    clock = clock_from_now()
    numbers = itertools.count()
    samples: list[Sample] = []

    async def user() -> None:
        free = clock()
        while free < seconds and not stop.is_set():
            index = next(numbers)
            sample, answer = await timed(send, request(index), index, free, clock)
            samples.append(sample)
            record(sample)
            if answer.pause_s:
                await sleep_unless(stop, min(answer.pause_s, max(seconds - clock(), 0)))
            free = clock() if answer.pause_s or sample.ended is None else sample.ended

    tasks = [asyncio.create_task(user()) for _ in range(users)]
    await finished(tasks, stop)
    return samples
