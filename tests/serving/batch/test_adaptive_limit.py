"""Places at a server: as many as it takes, in the order of arrival, and none that is lost."""

import asyncio

from serving.batch.adaptive_limit import AdaptiveLimit


async def settle() -> None:
    """Let everything go on that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def hold(limit: AdaptiveLimit, order: list[int], number: int, end: asyncio.Event) -> None:
    async with limit.place():
        order.append(number)
        await end.wait()


def test_no_more_than_the_limit_are_under_way_and_the_first_come_first() -> None:
    async def run() -> None:
        limit, order, end = AdaptiveLimit(3), list[int](), asyncio.Event()
        tasks = [asyncio.create_task(hold(limit, order, i, end)) for i in range(7)]
        await settle()
        assert (order, limit.under_way) == ([0, 1, 2], 3)
        tasks[4].cancel()  # one that waits
        tasks[1].cancel()  # one that has a place
        await settle()
        assert (order, limit.under_way) == ([0, 1, 2, 3], 3)
        end.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (order, limit.under_way) == ([0, 1, 2, 3, 5, 6], 0)

    asyncio.run(run())


def test_one_that_leaves_as_its_turn_comes_passes_it_on() -> None:
    async def run() -> None:
        limit, order, end = AdaptiveLimit(1), list[int](), asyncio.Event()
        first = asyncio.create_task(hold(limit, order, 0, end))
        second, third = (asyncio.create_task(hold(limit, order, i, end)) for i in (1, 2))
        await settle()
        first.cancel()
        await asyncio.sleep(0)  # its place has been given to the second, which does not know yet
        second.cancel()
        await settle()
        assert (order, limit.under_way) == ([0, 2], 1)
        end.set()
        await third

    asyncio.run(run())


def test_refusals_halve_the_limit_once_a_round_and_answers_raise_it() -> None:
    async def run() -> None:
        limit = AdaptiveLimit(16)
        async with limit.place() as first:
            for _ in range(5):  # all of one round
                limit.refused(first, 0)
        assert limit.limit == 8
        async with limit.place() as second:
            limit.refused(first, 0)  # late
            assert limit.limit == 8
            limit.refused(second, 0)
        assert limit.limit == 4
        for _ in range(5):
            limit.answered()
        assert limit.limit == 5
        for _ in range(1000):
            limit.answered()
        assert limit.limit == 16
        for _ in range(9):
            async with limit.place() as now:
                limit.refused(now, 0)
        assert limit.limit == 1

    asyncio.run(run())


def test_nothing_is_sent_before_the_server_said() -> None:
    async def run() -> None:
        limit, order, end = AdaptiveLimit(4), list[int](), asyncio.Event()
        async with limit.place() as now:
            limit.refused(now, 3600)
            limit.refused(now, 0.01)  # the longest counts
        task = asyncio.create_task(hold(limit, order, 0, end))
        await settle()
        assert order == []
        task.cancel()
        short = AdaptiveLimit(4)
        async with short.place() as now:
            short.refused(now, 0.01)
        end.set()
        await asyncio.wait_for(hold(short, order, 1, end), 30)
        assert order == [1]

    asyncio.run(run())
