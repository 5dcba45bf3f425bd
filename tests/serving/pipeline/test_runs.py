"""Runs of requests: how they end, and what a caller sees of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from choreo.errors import BackendUnavailable, ChoreoError, DeadlineExceeded, InvalidInput
from serving.pipeline import runs
from serving.pipeline.admission import Admission
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments, MotionRequest
from serving.pipeline.runs import Run, RunService, RunState
from serving.pipeline.validation import validated_request
from serving.settings import Settings

ORDER = list(RunState)
FIELDS = frozenset({"audio", "text_prompt", "model"})


def job(seconds: float = 60.0) -> MotionRequest:
    request = validated_request(parse_fields({"text_prompt": "waltz"}), Attachments(), Settings())
    return replace(request, deadline=time.time() + seconds)


async def fetched(url: str) -> bytes:
    if url == "http://gone.test":
        raise InvalidInput("audio_url", "is not there")
    return url.encode()


def service(running: int = 1) -> RunService:
    return RunService(Admission(running, 10), fetched, FIELDS)


def waits_for(go: asyncio.Event, result: Any = "danced") -> Callable[[MotionRequest], Awaitable[Any]]:
    async def work(request: MotionRequest) -> Any:
        await go.wait()
        return result

    return work


def raises(error: BaseException) -> Callable[[MotionRequest], Awaitable[Any]]:
    async def work(request: MotionRequest) -> Any:
        raise error

    return work


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 30))


def test_a_run_waits_for_its_turn_works_and_succeeds() -> None:
    async def test() -> None:
        runs_here, go = service(), asyncio.Event()
        first, second = (runs_here.submit(job(), waits_for(go), None) for _ in range(2))
        assert (first.state, second.state) == (RunState.QUEUED, RunState.QUEUED)
        assert first.id == first.request.request_id != second.id
        await turns()
        assert (first.state, second.state) == (RunState.RUNNING, RunState.QUEUED)
        go.set()
        assert await asyncio.gather(runs_here.wait(first), runs_here.wait(second)) == ["danced"] * 2
        assert (first.state, second.state) == (RunState.SUCCEEDED, RunState.SUCCEEDED)
        assert await runs_here.wait(first) == "danced"

    run(test())


def test_states_only_move_down(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[RunState]] = {}

    class FakeRun(Run[Any]):
        """Notes its states."""

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "state":
                seen.setdefault(self.request.request_id, []).append(value)
            super().__setattr__(name, value)

    monkeypatch.setattr(runs, "Run", FakeRun)

    async def test() -> None:
        runs_here, go = service(), asyncio.Event()
        works = [waits_for(go), raises(BackendUnavailable("down")), waits_for(go), waits_for(go)]
        submitted = [runs_here.submit(job(), work, None) for work in works]
        await turns()
        await runs_here.cancel(submitted[3])
        go.set()
        await asyncio.gather(*(one.task for one in submitted), return_exceptions=True)
        for one in submitted:  # one that has ended stays as it is
            state = one.state
            await runs_here.cancel(one)
            assert one.state is state

    run(test())
    assert [states[-1] for states in seen.values()] == ["succeeded", "failed", "succeeded", "cancelled"]
    for states in seen.values():
        places = [ORDER.index(state) for state in states]
        assert places == sorted(places)


def test_a_cancelled_run_gives_its_turn_back_wherever_it_was() -> None:
    async def test() -> None:
        runs_here, go = service(), asyncio.Event()
        working, queued, last = (runs_here.submit(job(), waits_for(go), None) for _ in range(3))
        fresh = runs_here.submit(job(), waits_for(go), None)
        await runs_here.cancel(fresh)  # before it has begun at all
        await turns()
        for one in (queued, working):
            await runs_here.cancel(one)
            assert one.state is RunState.CANCELLED
            with pytest.raises(asyncio.CancelledError):
                await runs_here.wait(one)
        assert fresh.state is RunState.CANCELLED
        await turns()
        assert last.state is RunState.RUNNING
        go.set()
        assert await runs_here.wait(last) == "danced"

    run(test())


def test_a_run_that_a_stage_gave_up_is_told_as_one_that_may_be_tried_again() -> None:
    async def test() -> None:
        runs_here = service()
        given_up = runs_here.submit(job(), raises(asyncio.CancelledError()), None)
        with pytest.raises(BackendUnavailable, match="gave up"):
            await runs_here.wait(given_up)
        assert given_up.state is RunState.CANCELLED

    run(test())


class FakeObserver:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.waits: list[str] = []
        self.misses: list[str] = []

    def waited(self, request: MotionRequest, seconds: float) -> None:
        assert 0 <= seconds < 30
        self.waits.append(request.request_id)

    def missed(self, request: MotionRequest) -> None:
        self.misses.append(request.request_id)


def test_turns_and_missed_deadlines_are_told() -> None:
    async def test() -> None:
        observer, go = FakeObserver(), asyncio.Event()
        runs_here = RunService(Admission(1, 10), fetched, FIELDS, observer)
        first = runs_here.submit(job(), waits_for(go), None)
        await turns()
        late = runs_here.submit(job(-10), waits_for(go), None)
        with pytest.raises(DeadlineExceeded, match="queue"):
            await runs_here.wait(late)
        go.set()
        await runs_here.wait(first)
        slow = runs_here.submit(job(), raises(DeadlineExceeded("before sample")), None)
        broken = runs_here.submit(job(), raises(BackendUnavailable("down")), None)
        await asyncio.gather(slow.task, broken.task, return_exceptions=True)
        assert observer.waits == [one.id for one in (first, late, slow, broken)]
        assert observer.misses == [late.id, slow.id]

    run(test())


def test_a_caller_that_leaves_does_not_end_the_run() -> None:
    async def test() -> None:
        runs_here, go = service(), asyncio.Event()
        submitted = runs_here.submit(job(), waits_for(go), None)
        caller = asyncio.create_task(runs_here.wait(submitted))
        await turns()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert submitted.state is RunState.RUNNING
        go.set()
        assert await runs_here.wait(submitted) == "danced"

    run(test())


def test_a_deadline_ends_a_run_that_waits_and_one_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "GRACE_S", 0.01)

    async def test() -> None:
        runs_here, never = service(), asyncio.Event()
        working = runs_here.submit(job(0.05), waits_for(never), None)
        await turns()
        queued = runs_here.submit(job(0.01), waits_for(never), None)
        with pytest.raises(DeadlineExceeded, match="in the queue"):
            await runs_here.wait(queued)
        with pytest.raises(DeadlineExceeded, match="in a stage"):
            await runs_here.wait(working)
        assert (queued.state, working.state) == (RunState.FAILED, RunState.FAILED)
        never.set()
        assert await runs_here.wait(runs_here.submit(job(), waits_for(never), None)) == "danced"

    run(test())


def test_a_stage_that_notices_the_deadline_says_it_better() -> None:
    async def test() -> None:
        runs_here = service()
        submitted = runs_here.submit(job(), raises(DeadlineExceeded("the deadline passed at step 3 of 50")), None)
        with pytest.raises(DeadlineExceeded, match="step 3"):
            await runs_here.wait(submitted)

    run(test())


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (InvalidInput("model", "is unknown"), InvalidInput, "model: is unknown"),
        (InvalidInput("audio.rate", "is odd"), InvalidInput, "audio.rate"),
        (InvalidInput("context", "must have shape (1, 2)"), ChoreoError, "a stage refused what another one made"),
        (BackendUnavailable("Triton is down"), BackendUnavailable, "down"),
        (ZeroDivisionError("a defect"), ZeroDivisionError, "a defect"),
    ],
)
def test_an_error_of_a_field_is_the_callers_and_one_of_a_tensor_is_ours(
    error: Exception, kind: type[Exception], says: str
) -> None:
    async def test() -> None:
        runs_here = service()
        submitted = runs_here.submit(job(), raises(error), None)
        with pytest.raises(kind, match=says) as caught:
            await runs_here.wait(submitted)
        assert isinstance(caught.value, InvalidInput) == (kind is InvalidInput)
        assert caught.value is error or caught.value.__cause__ is error
        assert submitted.state is RunState.FAILED

    run(test())


def test_a_song_is_fetched_in_the_requests_turn() -> None:
    async def heard(request: MotionRequest) -> bytes | None:
        return request.audio

    async def test() -> None:
        runs_here = service()
        assert await runs_here.wait(runs_here.submit(job(), heard, "http://song.test")) == b"http://song.test"
        assert await runs_here.wait(runs_here.submit(job(), heard, None)) is None
        with pytest.raises(ChoreoError, match="is not there"):
            await runs_here.wait(runs_here.submit(job(), heard, "http://gone.test"))

    run(test())


def test_a_failure_that_nobody_waits_for_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        runs_here = service()
        submitted = runs_here.submit(job(), raises(BackendUnavailable("down")), None)
        await turns()
        await runs_here.cancel(submitted)
        assert submitted.state is RunState.FAILED
        del submitted

    run(test())
    assert not caplog.records
