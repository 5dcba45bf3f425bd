"""An open loop: requests start at their arrival times, whether or not earlier ones were answered.

A generator that waits for answers sends nothing while a server stalls, so its figures omit the requests that would have
waited ("coordinated omission", G. Tene). Here arrival times are fixed in advance and latency counts from them.
"""

import asyncio
from collections.abc import Callable, Iterable

from loadtest.samples import Sample
from loadtest.sending import Clock, R, Record, Send, clock_from_now, finished, ignore, sleep_unless, timed

MAX_IN_FLIGHT = 1000


async def open_loop(
    send: Send[R],
    request: Callable[[int], R],
    arrivals: Iterable[float],
    record: Record = ignore,
    max_in_flight: int = MAX_IN_FLIGHT,
    stop: asyncio.Event | None = None,
    clock: Clock | None = None,
) -> list[Sample]:
    """Send the requests and wait for their answers.

    Args:
        send: sends one request.
        request: makes the request of a number; called when it is due.
        arrivals: arrival times, ascending, seconds of the clock.
        record: is given every sample as soon as it exists.
        max_in_flight: further requests are not sent but recorded as dropped.
        stop: ends the run when set; requests in flight become unfinished samples.
        clock: seconds since the start of the run; omitted: the run starts now.

    Returns:
        The samples in the order in which they ended.
    """
    stop = stop or asyncio.Event()
    clock = clock or clock_from_now()
    samples: list[Sample] = []
    under_way: set[asyncio.Task[None]] = set()

    def keep(sample: Sample) -> None:
        samples.append(sample)
        record(sample)

    async def one(index: int, wanted: R, intended: float) -> None:
        keep((await timed(send, wanted, index, intended, clock))[0])

    for index, intended in enumerate(arrivals):
        if not await sleep_unless(stop, intended - clock()):
            break
        wanted = request(index)
        if len(under_way) >= max_in_flight:
            keep(Sample.dropped(index, wanted.kind, intended))
            continue
        task = asyncio.create_task(one(index, wanted, float(intended)))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await finished(set(under_way), stop)
    return samples
