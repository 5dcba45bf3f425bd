"""Searches that arrive together, with a finder that notes what it was asked."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from choreo.errors import BackendUnavailable, InvalidInput
from retrieval.library.embedding import Query
from retrieval.search.finder import PhraseRequest
from serving.stages.search_batches import FindBatches


class FakeFinder:
    """Answers with the request's text; a text of "bad" spoils the whole call, as a wrong block does."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.threads: set[int] = set()
        self.entered, self.go = threading.Event(), threading.Event()
        self.go.set()

    def find(self, requests: Sequence[PhraseRequest]) -> list[Any]:
        self.calls.append([request.text for request in requests])
        self.threads.add(threading.get_ident())
        self.entered.set()
        assert self.go.wait(10)
        if any(request.text == "bad" for request in requests):
            raise InvalidInput("text", "is bad")
        return [[request.text] for request in requests]


def wish(text: str) -> PhraseRequest:
    return PhraseRequest(Query(text=np.ones(3)), text)


async def entered(finder: FakeFinder) -> None:
    assert await asyncio.to_thread(finder.entered.wait, 10)
    finder.entered.clear()


def test_what_arrives_together_is_one_call_in_another_thread() -> None:
    async def run() -> None:
        finder, batches = FakeFinder(), FindBatches()
        found = await asyncio.gather(*(batches.find(finder, wish(str(i))) for i in range(8)))  # type: ignore[arg-type]
        assert found == [[str(i)] for i in range(8)]
        assert finder.calls == [[str(i) for i in range(8)]]
        assert threading.get_ident() not in finder.threads
        assert await batches.find(finder, wish("later")) == ["later"]  # type: ignore[arg-type]
        batches.close()

    asyncio.run(run())


def test_a_full_batch_goes_at_once_and_the_rest_follows() -> None:
    async def run() -> None:
        finder, batches = FakeFinder(), FindBatches(max_batch=3, wait_s=3600)
        await asyncio.gather(*(batches.find(finder, wish(str(i))) for i in range(7)))  # type: ignore[arg-type]
        assert finder.calls == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
        batches.close()

    asyncio.run(run())


def test_what_comes_during_a_call_gathers_without_waiting() -> None:
    async def run() -> None:
        finder, batches = FakeFinder(), FindBatches(max_batch=2, wait_s=3600)
        finder.go.clear()
        first = [asyncio.create_task(batches.find(finder, wish(text))) for text in "ab"]  # type: ignore[arg-type]
        await entered(finder)
        later = [asyncio.create_task(batches.find(finder, wish(text))) for text in "c"]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        finder.go.set()
        assert await asyncio.gather(*first, *later) == [["a"], ["b"], ["c"]]
        assert finder.calls == [["a", "b"], ["c"]]
        batches.close()

    asyncio.run(run())


def test_one_bad_request_fails_alone() -> None:
    async def run() -> None:
        finder, batches = FakeFinder(), FindBatches()
        texts = ["a", "bad", "b"]
        found = await asyncio.gather(
            *(batches.find(finder, wish(text)) for text in texts),  # type: ignore[arg-type]
            return_exceptions=True,
        )
        assert found[0] == ["a"]
        assert isinstance(found[1], InvalidInput)
        assert found[2] == ["b"]
        batches.close()

    asyncio.run(run())


def test_the_cancelled_leave_the_queue_and_the_running_batch() -> None:
    async def run() -> None:
        finder, batches = FakeFinder(), FindBatches(max_batch=2, wait_s=3600)
        finder.go.clear()
        running = [asyncio.create_task(batches.find(finder, wish(text))) for text in "ab"]  # type: ignore[arg-type]
        await entered(finder)
        queued = [asyncio.create_task(batches.find(finder, wish(text))) for text in "cd"]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        for task in (running[0], queued[0]):
            task.cancel()
        await asyncio.wait([running[0], queued[0]])
        finder.go.set()
        assert await asyncio.gather(running[1], queued[1]) == [["b"], ["d"]]
        assert finder.calls == [["a", "b"], ["d"]]
        batches.close()

    asyncio.run(run())


def test_requests_to_different_libraries_share_no_call() -> None:
    async def run() -> None:
        old, new, batches = FakeFinder(), FakeFinder(), FindBatches()
        asked = [(old, "a"), (new, "b"), (old, "c"), (new, "d")]
        found = await asyncio.gather(*(batches.find(finder, wish(t)) for finder, t in asked))  # type: ignore[arg-type]
        assert found == [["a"], ["b"], ["c"], ["d"]]
        assert (old.calls, new.calls) == ([["a", "c"]], [["b", "d"]])
        batches.close()

    asyncio.run(run())


def test_a_finder_that_forgets_a_request_leaves_nobody_waiting() -> None:
    class FakeForgetfulFinder(FakeFinder):
        def find(self, requests: Sequence[PhraseRequest]) -> list[Any]:
            return super().find(requests)[1:]

    async def run() -> None:
        finder, batches = FakeForgetfulFinder(), FindBatches()
        found = await asyncio.gather(
            *(batches.find(finder, wish(text)) for text in "ab"),  # type: ignore[arg-type]
            return_exceptions=True,
        )
        assert all(isinstance(outcome, RuntimeError) for outcome in found)
        batches.close()

    asyncio.run(run())


def test_closing_fails_what_waits_and_what_comes() -> None:
    async def run() -> None:
        finder, batches = FakeFinder(), FindBatches(max_batch=1)
        finder.go.clear()
        running = asyncio.create_task(batches.find(finder, wish("a")))  # type: ignore[arg-type]
        await entered(finder)
        queued = asyncio.create_task(batches.find(finder, wish("b")))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        batches.close()
        for task in (running, queued):
            with pytest.raises(BackendUnavailable):
                await task
        with pytest.raises(BackendUnavailable):
            await batches.find(finder, wish("c"))  # type: ignore[arg-type]
        finder.go.set()

    asyncio.run(run())
