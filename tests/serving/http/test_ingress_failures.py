"""What becomes of requests when stages fail, the house is full, or the caller leaves."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest

from choreo.errors import BackendUnavailable, DeadlineExceeded, InvalidInput, MissingDependency, NonFiniteOutput
from serving.pipeline.request import MotionRequest

TEXT = {"text_prompt": "a slow waltz"}


@pytest.mark.parametrize(
    ("error", "status", "field"),
    [
        (InvalidInput("audio", "cannot be decoded"), 422, "audio"),
        (InvalidInput("motion", "is too wide"), 500, None),
        (MissingDependency("install jukebox"), 501, None),
        (BackendUnavailable("grpc at 10.0.0.1"), 503, None),
        (DeadlineExceeded("at step 3"), 504, None),
        (NonFiniteOutput("NaN"), 500, None),
        (RuntimeError("/srv/secret"), 500, None),
        (TimeoutError("bare"), 504, None),
    ],
)
def test_failures_of_stages(
    ingress: Any, stages: Any, check_problem: Any, error: Exception, status: int, field: str | None
) -> None:
    async def fail(job: MotionRequest) -> None:
        raise error

    stages.action = fail
    response = ingress.generate(TEXT)
    check_problem(response, status, field)
    assert "secret" not in response.text
    assert "10.0.0.1" not in response.text
    assert ("retry-after" in response.headers) == (status == 503)


def test_nan_is_never_sent(ingress: Any, stages: Any, check_problem: Any) -> None:
    stages.broken = True
    for path in ("/v1/generate", "/generate"):
        check_problem(ingress.ask("POST", path, json=TEXT), 500)


def test_samples_that_fail_are_left_out_and_counted(ingress: Any, stages: Any, check_problem: Any) -> None:
    several = TEXT | {"seed": 4, "num_samples": 3, "duration": 1.0}
    failed: set[int] = set()

    async def fail(job: MotionRequest) -> None:
        if job.seed in failed:
            raise NonFiniteOutput("NaN")

    async def run() -> None:
        stages.action = fail
        async with ingress.connect() as connection:
            for failing, left in ((set(), [4, 5, 6]), ({5}, [4, 6]), ({4, 6}, [5])):
                failed.clear()
                failed.update(failing)
                answer = await connection.post("/v1/generate", json=several)
                assert answer.status_code == 200
                meta = answer.json()["meta"]
                assert [each["seed"] for each in meta["samples"]] == left
                assert meta["samples_failed"] == len(failing)
            failed.update({4, 5, 6})
            check_problem(await connection.post("/v1/generate", json=several), 500)
            assert await count(connection, 'choreo_samples_failed_total{model="fake"}') == 3
            assert await count(connection, 'choreo_problems_total{kind="non-finite-output"}') == 1

    asyncio.run(run())


def test_the_deadline_ends_a_stage_that_hangs(ingress: Any, stages: Any, check_problem: Any) -> None:
    async def hang(job: MotionRequest) -> None:
        await asyncio.Event().wait()

    stages.action = hang
    began = time.monotonic()
    check_problem(ingress.generate(TEXT, settings={"request_timeout_s": 0.1}), 504)
    assert time.monotonic() - began < 5


class Gate:
    """Holds every job in the sampler until it is opened."""

    def __init__(self) -> None:
        self.entered: asyncio.Queue[MotionRequest] = asyncio.Queue()
        self.open = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, job: MotionRequest) -> None:
        self.entered.put_nowait(job)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


async def count(connection: httpx.AsyncClient, line: str) -> float:
    lines = (await connection.get("/metrics")).text.splitlines()
    return next((float(text.rpartition(" ")[2]) for text in lines if text.startswith(line)), 0.0)


async def until(condition: Callable[[], Any]) -> None:
    """Wait until an awaitable condition holds."""
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0)


def test_a_full_house_refuses_at_once_and_recovers(ingress: Any, stages: Any, check_problem: Any) -> None:
    async def run() -> None:
        stages.action = gate = Gate()
        async with ingress.connect(max_ongoing_requests=2, max_queued_requests=1) as connection:

            async def post() -> httpx.Response:
                return await connection.post("/v1/generate", json=TEXT)

            inside = [asyncio.create_task(post()) for _ in range(3)]
            await gate.entered.get()
            await gate.entered.get()
            await until(lambda: is_inside(connection, 3))
            began = time.monotonic()
            refused = await post()
            assert time.monotonic() - began < 1
            check_problem(refused, 429)
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert (await connection.get("/healthz")).status_code == 200
            assert gate.entered.empty()
            gate.open.set()
            assert [r.status_code for r in await asyncio.gather(*inside)] == [200] * 3
            assert (await post()).status_code == 200
            assert len(stages.requests) == 4
            assert await count(connection, 'choreo_refused_total{limit="max_queued_requests"}') == 1
            assert await count(connection, 'choreo_queue_seconds_count{priority="interactive"}') == 4
            latency = 'choreo_motion_latency_seconds_count{model="fake",preset="reference"}'
            assert await count(connection, latency) == 4

    async def is_inside(connection: httpx.AsyncClient, number: int) -> bool:
        # the probe itself is in flight too
        return await count(connection, "choreo_requests_in_flight") == number + 1

    asyncio.run(run())


def test_the_queue_obeys_the_deadline(ingress: Any, stages: Any, check_problem: Any) -> None:
    async def run() -> None:
        stages.action = gate = Gate()
        settings = {"max_ongoing_requests": 1, "max_queued_requests": 1, "request_timeout_s": 0.3}
        async with ingress.connect(**settings) as connection:
            posts = [connection.post("/v1/generate", json=TEXT) for _ in range(2)]
            for response in await asyncio.gather(*posts):
                check_problem(response, 504)
            assert gate.entered.qsize() == 1
            assert await count(connection, 'choreo_deadlines_missed_total{priority="interactive"}') == 2
            assert await count(connection, 'choreo_queue_seconds_count{priority="interactive"}') == 2

    asyncio.run(run())


def test_a_client_that_leaves_frees_its_place(ingress: Any, stages: Any, check_problem: Any) -> None:
    """Over ASGI directly: the caller's `receive` says that it has gone, as a real server's does."""

    async def run() -> None:
        stages.action = gate = Gate()
        async with ingress.connect(max_ongoing_requests=1, max_queued_requests=0) as connection:
            app = connection._transport.app  # type: ignore[attr-defined]
            leave = asyncio.Event()
            body = json.dumps(TEXT).encode()
            messages = [{"type": "http.request", "body": body, "more_body": False}]

            async def receive() -> dict[str, Any]:
                if messages:
                    return messages.pop()
                await leave.wait()
                return {"type": "http.disconnect"}

            async def send(message: dict[str, Any]) -> None:
                pass

            scope = {
                "type": "http", "method": "POST", "path": "/v1/generate", "raw_path": b"/v1/generate", "headers":
                [(b"content-type", b"application/json")], "query_string": b"", "asgi": {"version": "3.0"},
                "http_version": "1.1", "scheme": "http", "server": ("x", 80), "client": ("y", 1), "root_path": "",
            }  # fmt: skip
            call = asyncio.create_task(app(scope, receive, send))
            await gate.entered.get()
            leave.set()
            await asyncio.wait_for(gate.cancelled.wait(), 5)
            await call
            assert await count(connection, 'choreo_requests_total{route="/v1/generate",status="499"}') == 1
            gate.open.set()
            assert (await connection.post("/v1/generate", json=TEXT)).status_code == 200

    asyncio.run(run())


def test_a_cancelled_request_cancels_its_stage(ingress: Any, stages: Any, check_problem: Any) -> None:
    async def run() -> None:
        stages.action = gate = Gate()
        async with ingress.connect(max_ongoing_requests=1, max_queued_requests=0) as connection:
            call = asyncio.create_task(connection.post("/v1/generate", json=TEXT))
            await gate.entered.get()
            call.cancel()
            with suppress(asyncio.CancelledError):
                await call
            assert gate.cancelled.is_set()
            gate.open.set()
            assert (await connection.post("/v1/generate", json=TEXT)).status_code == 200

    asyncio.run(run())
