"""Both loops against the real HTTP server, and against answers that a test gives."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import pytest

from loadtest.arrivals import poisson
from loadtest.closed_loop import closed_loop
from loadtest.figures import Window, figures
from loadtest.http_client import HttpClient
from loadtest.open_loop import open_loop
from loadtest.samples import Answer, Outcome, Sample
from loadtest.scenarios import LoadRequest
from loadtest.sending import clock_from_now
from loadtest.thresholds import distrusted


@dataclass(frozen=True)
class Wanted:
    kind: str = "prompt"


def asked(index: int) -> LoadRequest:
    headers = {"Content-Type": "application/json"}
    return LoadRequest("prompt", "POST", "/v1/generate", headers, b'{"duration": 0.1}', frames=3)


def outcomes(samples: list[Sample]) -> list[str]:
    return [s.outcome.value for s in samples]


def test_a_stall_shows_in_every_request_that_arrived_during_it(server: Any) -> None:
    """The server answers none until it has 30; users that wait for answers never bring it more than one."""

    async def load() -> tuple[list[Sample], float, list[Sample]]:
        async with HttpClient(server.url, 60) as client:
            clock = clock_from_now()
            with server.stall:
                opened = asyncio.ensure_future(open_loop(client.send, asked, [i / 200 for i in range(40)], clock=clock))
                while len(server.bodies) < 30:
                    await asyncio.sleep(0.01)
                released = clock()
            samples = await opened
            with server.stall:
                closed = asyncio.ensure_future(closed_loop(client.send, asked, users=1, seconds=0.2))
                await asyncio.sleep(0.25)
                while len(server.bodies) < 41:
                    await asyncio.sleep(0.01)
                assert len(server.bodies) == 41
            return samples, released, await closed

    samples, released, closed = asyncio.run(load())
    assert outcomes(samples) == ["served"] * 40
    during = [s for s in samples if s.intended < released]
    assert len(during) >= 30
    assert all(s.latency >= released - s.intended for s in during)
    assert outcomes(closed) == ["served"]


def test_latency_counts_from_the_intended_start_when_the_generator_is_late() -> None:
    async def send(request: Wanted) -> Answer:
        return Answer(Outcome.SERVED, 200)

    def held_up(index: int) -> Wanted:
        time.sleep(0.2 if index == 0 else 0)
        return Wanted()

    samples = asyncio.run(open_loop(send, held_up, [i / 100 for i in range(15)]))
    found = figures("x", samples, Window(0, 1))
    assert found.requests == 15
    late = [s for s in samples if s.latency > 0.05]
    assert len(late) == 15
    assert found.lag.p50 is not None
    assert found.latency.p50 is not None
    assert found.latency.p50 >= found.lag.p50 > 0.05
    assert distrusted(found, 0.05)


def test_arrivals_and_their_samples_are_the_same_requests(server: Any) -> None:
    async def load() -> list[Sample]:
        async with HttpClient(server.url, 10) as client:
            return await open_loop(client.send, asked, arrivals)

    arrivals = poisson(100, 0.3, 1)
    samples = sorted(asyncio.run(load()), key=lambda s: s.index)
    assert [s.intended for s in samples] == pytest.approx(arrivals, abs=1e-6)
    assert all(s.started >= s.intended for s in samples if s.started is not None)
    assert len(server.bodies) == len(arrivals)
    assert all(s.frames == 3 and s.bytes > 0 and s.status == 200 for s in samples)


def test_what_exceeds_the_number_in_flight_is_dropped_and_recorded() -> None:
    recorded: list[Sample] = []

    async def load() -> list[Sample]:
        gate = asyncio.Event()

        async def send(request: Wanted) -> Answer:
            await gate.wait()
            return Answer(Outcome.SERVED)

        def record(sample: Sample) -> None:
            recorded.append(sample)
            if len(recorded) == 4:
                gate.set()

        return await open_loop(send, lambda i: Wanted(), [0.0] * 7, record, max_in_flight=3)

    samples = asyncio.run(load())
    assert outcomes(samples) == ["dropped"] * 4 + ["served"] * 3
    assert samples == recorded


class FakeServerWithoutAnswers:
    """Sets `stop` when it has some requests."""

    def __init__(self, requests: int) -> None:
        self.stop = asyncio.Event()
        self._left = requests

    async def send(self, request: Wanted) -> Answer:
        self._left -= 1
        if not self._left:
            self.stop.set()
        await asyncio.sleep(600)
        return Answer(Outcome.SERVED)


def test_stop_ends_both_loops_and_leaves_what_was_under_way_unfinished() -> None:
    async def load() -> tuple[list[Sample], list[Sample]]:
        one, other = FakeServerWithoutAnswers(2), FakeServerWithoutAnswers(4)
        opened = await open_loop(one.send, lambda i: Wanted(), [0.0, 0.0, 600.0], stop=one.stop)
        return opened, await closed_loop(other.send, lambda i: Wanted(), 4, 600, stop=other.stop)

    opened, closed = asyncio.run(load())
    assert outcomes(opened) == ["unfinished"] * 2
    assert outcomes(closed) == ["unfinished"] * 4


def test_what_a_sender_raises_is_a_failure_and_what_a_record_raises_ends_the_run() -> None:
    async def send(request: Wanted) -> Answer:
        raise RuntimeError("never mind")

    def full(sample: Sample) -> None:
        raise OSError("disk full")

    samples = asyncio.run(open_loop(send, lambda i: Wanted(), [0.0, 0.01]))
    assert [(s.outcome, s.error) for s in samples] == [(Outcome.FAILED, "RuntimeError")] * 2
    with pytest.raises(OSError, match="disk full"):
        asyncio.run(open_loop(send, lambda i: Wanted(), [0.0], full))


def test_users_have_one_request_each_and_wait_when_told_to() -> None:
    busy, most, sent = 0, 0, 0

    async def load() -> list[Sample]:
        stop = asyncio.Event()

        async def send(request: Wanted) -> Answer:
            nonlocal busy, most, sent
            busy, sent = busy + 1, sent + 1
            most = max(most, busy)
            await asyncio.sleep(0)
            busy -= 1
            if sent >= 20:
                stop.set()
            return Answer(Outcome.SERVED)

        return await closed_loop(send, lambda i: Wanted(), 3, 600, stop=stop)

    async def shed(request: Wanted) -> Answer:
        return Answer(Outcome.SHED, 429, pause_s=60.0)

    samples = asyncio.run(load())
    assert most == 3
    assert sorted(s.index for s in samples) == list(range(sent))
    assert sent >= 20
    assert len(asyncio.run(closed_loop(shed, lambda i: Wanted(), 3, 0.1))) <= 3


def test_an_answer_that_does_not_come_in_time_is_a_failure(server: Any) -> None:
    async def load() -> list[Sample]:
        async with HttpClient(server.url, 0.1) as client:
            with server.stall:
                return await open_loop(client.send, asked, [0.0])

    (sample,) = asyncio.run(load())
    assert (sample.outcome, sample.error, sample.status) == (Outcome.FAILED, "no answer in time", None)
