"""Threads beside an event loop."""

import asyncio
import threading

from serving.util.threads import Threads, run_in_thread_unless_fast


def test_a_cancelled_caller_leaves_the_queue_of_threads() -> None:
    async def run() -> list[int]:
        threads, done, release = Threads(1), [], threading.Event()
        first = asyncio.create_task(threads.run(release.wait, 10))
        await asyncio.sleep(0)
        second = asyncio.create_task(threads.run(done.append, 2))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait([second])
        release.set()
        await first
        await threads.run(done.append, 3)
        return done

    assert asyncio.run(run()) == [3]


def test_what_is_closed_takes_no_more_and_drops_what_has_not_begun() -> None:
    async def run() -> None:
        threads, done, release = Threads(1), [], threading.Event()
        first = asyncio.create_task(threads.run(release.wait, 10))
        await asyncio.sleep(0)
        second = asyncio.create_task(threads.run(done.append, 2))
        await asyncio.sleep(0)
        threads.close()
        release.set()
        await first
        await asyncio.wait([second])
        assert second.cancelled()
        assert done == []

    asyncio.run(run())


def test_only_what_takes_long_is_done_in_another_thread() -> None:
    async def run() -> None:
        here = threading.get_ident()
        assert await run_in_thread_unless_fast(True, threading.get_ident) == here
        assert await run_in_thread_unless_fast(False, threading.get_ident) != here

    asyncio.run(run())
