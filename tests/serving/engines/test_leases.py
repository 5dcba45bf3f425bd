"""Who may use a generator, who has to wait, and what becomes of the lease of a killed process."""

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from serving.engines import leases as module
from serving.engines.leases import SERVED, LeaseBoard, Leases, Served
from serving.errors import ModelUnavailable

HOLDER = """
import asyncio, sys
from pathlib import Path
from serving.engines.leases import Leases

async def main():
    async with Leases(Path(sys.argv[1])).hold(sys.argv[2]):
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "leases"


@pytest.fixture
def board(folder: Path) -> LeaseBoard:
    board = LeaseBoard(folder)
    board.publish(["salsa", "waltz"])
    return board


def unused(board: LeaseBoard, name: str) -> bool:
    with board.unused(name) as answer:
        return answer


@contextlib.contextmanager
def holder(folder: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a generator until it reads a line."""
    command = [sys.executable, "-c", HOLDER, str(folder), name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


async def some_turns() -> None:
    """Let what can go on go on, over several looks of a request that waits."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_what_is_served_is_read_again_when_it_was_published_again(board: LeaseBoard, folder: Path) -> None:
    leases = Leases(folder)
    assert leases.served() == Served(("salsa", "waltz"), frozenset(), 1)
    assert leases.served() is leases.served()
    board.publish(["waltz", "salsa"], ["salsa"])
    assert leases.served() == Served(("waltz", "salsa"), frozenset({"salsa"}), 2)
    # A reload between two looks is noticed, too.
    board.publish(["waltz", "salsa"], ["waltz"])
    board.publish(["waltz", "salsa"], ["salsa"])
    assert leases.served() == Served(("waltz", "salsa"), frozenset({"salsa"}), 4)
    board.restarts = 1
    board.publish(["waltz"])
    assert leases.served() == Served(("waltz",), frozenset(), 5, 1)


def test_without_a_supervisor_everything_may_be_used() -> None:
    async def run() -> None:
        leases = Leases()
        assert leases.served() is None
        async with leases.hold("anything"):
            assert not leases.held("anything")

    asyncio.run(run())


def test_a_generator_is_in_use_until_its_last_request_has_ended(board: LeaseBoard, folder: Path) -> None:
    async def run() -> None:
        one, other = Leases(folder), Leases(folder)
        async with one.hold("salsa"):
            async with other.hold("salsa"), one.hold("salsa"):
                assert not unused(board, "salsa")
                assert unused(board, "waltz")
            assert not unused(board, "salsa")
            assert one.held("salsa")
            assert not other.held("salsa")
        assert unused(board, "salsa")
        assert not one.held("salsa")

    asyncio.run(run())


def test_a_request_that_fails_gives_its_lease_back(board: LeaseBoard, folder: Path) -> None:
    async def run() -> None:
        leases = Leases(folder)
        with pytest.raises(ZeroDivisionError):
            async with leases.hold("salsa"):
                raise ZeroDivisionError
        assert unused(board, "salsa")

    asyncio.run(run())


def test_another_process_holds_and_lets_go(board: LeaseBoard, folder: Path) -> None:
    with holder(folder, "salsa") as process:
        assert not unused(board, "salsa")
        process.communicate("\n")
        assert process.returncode == 0
        assert unused(board, "salsa")


def test_a_killed_holder_holds_nothing(board: LeaseBoard, folder: Path) -> None:
    with holder(folder, "salsa") as process:
        assert not unused(board, "salsa")
        process.kill()
        process.wait()
        assert unused(board, "salsa")


def test_requests_wait_while_a_generator_is_paused_and_go_on(board: LeaseBoard, folder: Path) -> None:
    order: list[str] = []

    async def use(leases: Leases, name: str) -> None:
        async with leases.hold(name):
            order.append(name)

    async def run() -> None:
        leases = Leases(folder)
        async with leases.hold("salsa"):
            board.publish(["salsa", "waltz"], ["salsa"])
            waiting = [asyncio.create_task(use(each, "salsa")) for each in (leases, Leases(folder))]
            await use(leases, "waltz")
            await some_turns()
            assert order == ["waltz"]
            assert not unused(board, "salsa")
        with board.unused("salsa") as free:
            assert free
            await some_turns()
            assert order == ["waltz"]
            # The supervisor holds the lock while it reloads, whatever it has published.
            board.publish(["salsa", "waltz"])
            await some_turns()
            assert order == ["waltz"]
        await asyncio.wait_for(asyncio.gather(*waiting), 10)
        assert order == ["waltz", "salsa", "salsa"]

    asyncio.run(run())


def test_a_request_that_is_cancelled_while_it_waits_holds_nothing(board: LeaseBoard, folder: Path) -> None:
    async def run() -> None:
        leases = Leases(folder)
        board.publish(["salsa"], ["salsa"])

        @contextlib.asynccontextmanager
        async def held() -> AsyncIterator[None]:
            async with leases.hold("salsa"):
                yield

        waiting = asyncio.create_task(held().__aenter__())
        await some_turns()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert unused(board, "salsa")
        assert not leases.held("salsa")

    asyncio.run(run())


def test_a_generator_that_was_unloaded_is_named(board: LeaseBoard, folder: Path) -> None:
    async def run() -> None:
        leases = Leases(folder)
        async with leases.hold("salsa"):
            board.publish(["waltz"])
            with pytest.raises(ModelUnavailable, match="salsa"):
                async with leases.hold("salsa"):
                    pass
            assert not unused(board, "salsa")  # the first request goes on
        assert unused(board, "salsa")
        for name in ("salsa", "tango"):
            with pytest.raises(ModelUnavailable, match=name):
                async with leases.hold(name):
                    pass
            assert unused(board, name)

    asyncio.run(run())


def test_one_that_is_unloaded_while_requests_wait_for_it_fails_them(board: LeaseBoard, folder: Path) -> None:
    async def use(leases: Leases) -> None:
        async with leases.hold("salsa"):
            pass

    async def run() -> None:
        board.publish(["salsa", "waltz"], ["salsa"])
        waiting = asyncio.create_task(use(Leases(folder)))
        await some_turns()
        board.publish(["waltz"])
        with pytest.raises(ModelUnavailable, match="salsa"):
            await asyncio.wait_for(waiting, 10)

    asyncio.run(run())


@pytest.mark.parametrize("what", ["the list", "the folder"])
def test_when_the_supervisor_has_gone_nothing_is_served(board: LeaseBoard, folder: Path, what: str) -> None:
    async def run() -> None:
        leases = Leases(folder)
        assert leases.served() == Served(("salsa", "waltz"), frozenset(), 1)
        (folder / SERVED).unlink() if what == "the list" else shutil.rmtree(folder)
        assert leases.served() == Served(())
        with pytest.raises(ModelUnavailable, match="salsa"):
            async with leases.hold("salsa"):
                pass
        LeaseBoard(folder).publish(["salsa"])
        async with leases.hold("salsa"):
            assert leases.held("salsa")

    asyncio.run(run())


def test_the_list_is_never_seen_half_written(board: LeaseBoard, folder: Path) -> None:
    leases = Leases(folder)
    for count in range(30):
        board.publish([f"model-{number}" for number in range(count)])
        served = leases.served()
        assert served is not None
        assert len(served.names) == count
        assert json.loads((folder / SERVED).read_text())["names"] == list(served.names)
    assert not [path.name for path in folder.iterdir() if path.name.endswith(".part")]
