"""An open loop: requests start when they arrive, whatever became of those before them.

A generator that waits for answers sends nothing while a server stalls, and so leaves out of its figures the requests
that would have waited ("coordinated omission", G. Tene). Here arrivals are fixed beforehand and latency counts from
them.
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
        send: sends one.
        request: makes the request of a number; called when it is due.
        arrivals: ascending, seconds from now.
        record: is given every sample as soon as there is one.
        max_in_flight: more than that are not sent but recorded as dropped.
        stop: ends the run; what is under way then is given up.
        clock: of the run; omitted: it starts now.

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
