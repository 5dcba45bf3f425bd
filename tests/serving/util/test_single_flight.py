"""Equal work at the same time is done once, whoever leaves."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from serving.util.single_flight import SingleFlight


class Work:
    """Work that waits to be let go; counts how often it was begun and cancelled."""

    def __init__(self, result: Any = "done") -> None:
        self.begun = self.cancelled = 0
        self.go = asyncio.Event()
        self._result = result

    async def __call__(self) -> Any:
        self.begun += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


def run(test: Callable[[SingleFlight[Any]], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test(SingleFlight()))


async def callers(flights: SingleFlight[Any], work: Work, count: int) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(flights.do(b"key", work)) for _ in range(count)]
    while not work.begun:
        await asyncio.sleep(0)
    return tasks


def test_equal_requests_wait_for_one_result() -> None:
    async def test(flights: SingleFlight[Any]) -> None:
        work, other = Work(), Work("other")
        tasks = await callers(flights, work, 3)
        different = asyncio.create_task(flights.do(b"another key", other))
        work.go.set()
        other.go.set()
        assert await asyncio.gather(*tasks, different) == ["done"] * 3 + ["other"]
        assert (work.begun, other.begun, flights.under_way) == (1, 1, 0)

    run(test)


def test_the_first_caller_may_leave() -> None:
    async def test(flights: SingleFlight[Any]) -> None:
        work = Work()
        first, *others = await callers(flights, work, 3)
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        work.go.set()
        assert await asyncio.gather(*others) == ["done"] * 2
        assert (work.begun, work.cancelled) == (1, 0)

    run(test)


def test_when_all_have_left_the_work_is_cancelled_and_a_newcomer_begins_anew() -> None:
    async def test(flights: SingleFlight[Any]) -> None:
        work = Work()
        tasks = await callers(flights, work, 2)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        again = Work("again")
        again.go.set()
        assert await flights.do(b"key", again) == "again"
        assert (work.cancelled, flights.under_way) == (1, 0)

    run(test)


def test_all_get_the_error_and_it_is_not_remembered() -> None:
    async def test(flights: SingleFlight[Any]) -> None:
        work = Work(ValueError("broken"))
        tasks = await callers(flights, work, 2)
        work.go.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["broken"] * 2
        good = Work()
        good.go.set()
        assert await flights.do(b"key", good) == "done"

    run(test)


def test_what_fails_when_nobody_waits_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    async def test(flights: SingleFlight[Any]) -> None:
        async def stubborn() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ValueError("too late") from None

        task = asyncio.create_task(flights.do(b"key", stubborn))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    run(test)
    assert not caplog.records
