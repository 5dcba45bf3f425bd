"""Requests of jobs that fail, are tried again, or outlive their server."""

import asyncio
import json
from typing import Any

from served_jobs import TEXT, run

from choreo.errors import BackendUnavailable, NonFiniteOutput
from serving.pipeline.request import MotionRequest


def test_one_poisonous_request_fails_alone(serve: Any, stages: Any) -> None:
    async def fail(request: MotionRequest) -> None:
        if request.seed == 1:
            raise NonFiniteOutput("NaN")
        if request.seed == 2:
            raise RuntimeError("/a/secret")

    stages.action = fail

    async def walk() -> None:
        async with serve(job_attempts=2) as server:
            job = await server.accepted(*(TEXT | {"seed": seed} for seed in range(4)))
            done = await server.ended(job)
            assert (done["state"], done["counts"]["succeeded"], done["counts"]["failed"]) == ("succeeded", 2, 2)
            lines = await server.lines(job)
            assert [line["error"] and line["error"]["type"].rpartition(":")[2] for line in lines] == [
                None, "non-finite-output", "internal", None,
            ]  # fmt: skip
            assert [line["response"]["status_code"] for line in lines] == [200, 500, 500, 200]
            assert "secret" not in json.dumps(lines)
            all_bad = await server.accepted(TEXT | {"seed": 1}, TEXT | {"seed": 2})
            assert (await server.ended(all_bad))["state"] == "failed"

    run(walk)


def test_what_may_pass_is_tried_again(serve: Any, stages: Any) -> None:
    tries = 0

    async def fail_once(request: MotionRequest) -> None:
        nonlocal tries
        tries += 1
        if tries == 1 or request.seed == 8:
            raise BackendUnavailable("restarting")

    stages.action = fail_once

    async def walk() -> None:
        async with serve(job_attempts=2) as server:
            assert (await server.ended(await server.accepted(TEXT | {"seed": 7})))["state"] == "succeeded"
            assert tries == 2
            lost = await server.accepted(TEXT | {"seed": 8})
            assert (await server.ended(lost))["state"] == "failed"
            assert (await server.lines(lost))[0]["error"]["status"] == 503

    run(walk)


def test_what_was_given_up_is_tried_again_at_once(serve: Any, stages: Any) -> None:
    """Not only when its lease has run out, which this test would not live to see."""
    tries = 0

    async def give_up_once(request: MotionRequest) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise asyncio.CancelledError

    stages.action = give_up_once

    async def walk() -> None:
        async with serve(job_lease_s=3600) as server:
            assert (await server.ended(await server.accepted(TEXT)))["state"] == "succeeded"
            assert tries == 2

    run(walk)


def test_a_request_whose_worker_was_cancelled_is_put_back_at_once(serve: Any, stages: Any) -> None:
    async def walk() -> None:
        begun, tries = asyncio.Event(), 0

        async def wait_once(request: MotionRequest) -> None:
            nonlocal tries
            tries += 1
            if tries == 1:
                begun.set()
                await asyncio.Event().wait()

        stages.action = wait_once
        async with serve(job_lease_s=3600) as server:
            job = await server.accepted(TEXT)
            await begun.wait()
            (worker,) = (task for task in asyncio.all_tasks() if task.get_coro().__qualname__ == "Runner._do")
            worker.cancel()
            assert (await server.ended(job))["state"] == "succeeded"
            assert tries == 2

    run(walk)


def test_jobs_survive_a_restart_with_their_seeds(serve: Any, stages: Any) -> None:
    async def walk() -> None:
        blocked = asyncio.Event()

        async def wait(request: MotionRequest) -> None:
            blocked.set()
            await asyncio.Event().wait()

        stages.action = wait
        async with serve(job_concurrency=2) as server:
            job = await server.accepted(TEXT, TEXT, TEXT)
            await blocked.wait()
        before = {request.request_id: request.seed for request in stages.requests}

        async def nothing(request: MotionRequest) -> None:
            pass

        stages.action = nothing
        async with serve() as server:
            done = await server.ended(job)
            assert (done["state"], done["counts"]["succeeded"]) == ("succeeded", 3)
            seeds = [line["response"]["meta"]["seed"] for line in await server.lines(job)]
        assert all(seeds[int(name.rpartition(".")[2])] == seed for name, seed in before.items())

    run(walk)


def test_a_server_that_stops_ends_what_is_under_way(serve: Any, stages: Any, check_problem: Any) -> None:
    async def walk() -> None:
        begun, go = asyncio.Event(), asyncio.Event()

        async def wait(request: MotionRequest) -> None:
            begun.set()
            await go.wait()

        stages.action = wait
        async with serve(job_concurrency=1) as server:
            job = await server.accepted(TEXT, TEXT)
            await begun.wait()
            draining = asyncio.create_task(server.jobs.drain(30))
            await asyncio.sleep(0)
            check_problem(await server.submit({"requests": [TEXT]}), 503)
            go.set()
            await draining
            found = await server.look(job)
            assert (found["state"], found["counts"]["succeeded"], found["counts"]["queued"]) == ("running", 1, 1)

    run(walk)
