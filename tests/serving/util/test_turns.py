"""Turns: never more than there are, and no owner before another that has fewer."""

import asyncio

import pytest

from serving.util.turns import Turns


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Worker:
    """Calls of owners that each hold a turn until they are told to end."""

    def __init__(self, number: int) -> None:
        self.turns, self.order = Turns(number), list[str]()
        self.ends: dict[str, list[asyncio.Event]] = {}
        self.tasks: list[asyncio.Task[None]] = []

    def call(self, owner: str) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(self._work(owner))
        self.tasks.append(task)
        return task

    async def end(self, owner: str) -> None:
        """End the oldest call of an owner that has a turn."""
        self.ends[owner].pop(0).set()
        await settle()

    async def _work(self, owner: str) -> None:
        async with self.turns.turn(owner):
            self.order.append(owner)
            event = asyncio.Event()
            self.ends.setdefault(owner, []).append(event)
            await event.wait()


def test_a_later_owner_with_fewer_turns_comes_first() -> None:
    async def run() -> None:
        worker = Worker(2)
        for _ in range(4):
            worker.call("many")
        await settle()
        worker.call("one")
        await settle()
        assert worker.order == ["many", "many"]
        await worker.end("many")
        assert worker.order == ["many", "many", "one"]
        await worker.end("many")
        assert worker.order[3:] == ["many"]
        await worker.end("one")
        assert worker.order[4:] == ["many"]
        await worker.end("many")
        await worker.end("many")
        await asyncio.gather(*worker.tasks)

    asyncio.run(run())


def test_equals_come_in_order() -> None:
    async def run() -> None:
        worker = Worker(1)
        for owner in ("a", "b", "c"):
            worker.call(owner)
        await settle()
        for owner in ("a", "b", "c"):
            await worker.end(owner)
        assert worker.order == ["a", "b", "c"]

    asyncio.run(run())


def test_owners_take_turns_and_none_is_held_up_for_good() -> None:
    async def run() -> None:
        worker = Worker(1)
        for _ in range(4):
            worker.call("many")
        await settle()
        worker.call("a")
        await settle()
        await worker.end("many")
        for later in ("b", "c", "d"):
            worker.call(later)
            await settle()
            await worker.end(worker.order[-1])
        while any(not task.done() for task in worker.tasks):
            await worker.end(worker.order[-1])
        assert sorted(worker.order) == sorted(["many"] * 4 + ["a", "b", "c", "d"])
        places = [i for i, owner in enumerate(worker.order) if owner == "many"]
        assert places[2] <= 5  # others that came later did not keep it waiting
        assert worker.order.index("a") <= 2

    asyncio.run(run())


def test_nothing_is_kept_of_owners_that_have_ended() -> None:
    async def run() -> None:
        worker = Worker(1)
        for owner in ("a", "b", "a"):
            worker.call(owner)
        await settle()
        while any(not task.done() for task in worker.tasks):
            await worker.end(worker.order[-1])
        assert not vars(worker.turns)["_held"]
        assert not vars(worker.turns)["_line"]
        assert not vars(worker.turns)["_waiting"]

    asyncio.run(run())


@pytest.mark.parametrize("granted", [False, True])
def test_a_cancelled_call_leaves_its_turn_to_others(granted: bool) -> None:
    async def run() -> None:
        turns, order = Turns(1), list[str]()

        async def call(owner: str) -> None:
            async with turns.turn(owner):
                order.append(owner)

        first = turns.turn("a")
        await first.__aenter__()
        cancelled, waiting = asyncio.ensure_future(call("b")), asyncio.ensure_future(call("c"))
        await settle()
        if granted:  # its turn has come, and it is cancelled before it hears of it
            await first.__aexit__(None, None, None)
            cancelled.cancel()
        else:
            cancelled.cancel()
            await settle()
            await first.__aexit__(None, None, None)
        async with asyncio.timeout(1):
            await waiting
            await call("d")
        assert order == ["c", "d"]
        assert cancelled.cancelled()

    asyncio.run(run())
