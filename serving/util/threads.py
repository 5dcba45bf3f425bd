"""Threads for work that would block an event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """A few threads for work that blocks; a caller that is cancelled leaves the queue."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the work in one of the threads, in the context of the caller: log lines say whose work it is."""
        context = copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: context.run(work, *args, **kwargs))

    def close(self, wait: bool = False) -> None:
        """Take no more work and drop what has not begun; threads end when what they are at is done.

        Args:
            wait: return when they have ended.
        """
        self._pool.shutdown(wait=wait, cancel_futures=True)


async def run_in_thread_unless_fast(quick: bool, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do the work in another thread, unless it is quick: then it is done before a thread would have begun."""
    return work(*args, **kwargs) if quick else await asyncio.to_thread(work, *args, **kwargs)
