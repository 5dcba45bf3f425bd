"""Jobs as their callers see them, over stages in this process and a real database."""

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from served_jobs import TEXT, run

from serving.pipeline.request import MotionRequest, Priority


def test_a_job_from_submission_to_its_end(serve: Any, stages: Any, tmp_path: Path) -> None:
    async def walk() -> None:
        async with serve() as server:
            assert (await server.client.get("/v1/jobs")).json() == {"jobs": [], "next": None}
            assert not (tmp_path / "data").exists()
            answer = await server.submit({"requests": [TEXT | {"seed": 5}, TEXT, {"custom_id": "c", "body": TEXT}]})
            assert answer.status_code == 202
            job = answer.json()
            assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
            assert int(answer.headers["retry-after"]) > 0
            assert job["counts"]["total"] == 3
            done = await server.ended(job["id"])
            assert done["state"] == "succeeded"
            assert done["progress"] == 1
            counts = {"total": 3, "queued": 0, "running": 0, "succeeded": 3, "failed": 0, "cancelled": 0}
            assert done["counts"] == counts
            assert done["created_at"] <= done["started_at"] <= done["ended_at"]
            lines = await server.lines(job["id"])
            assert [(line["index"], line["custom_id"], line["state"]) for line in lines] == [
                (0, None, "succeeded"), (1, None, "succeeded"), (2, "c", "succeeded"),
            ]  # fmt: skip
            (file,) = lines[0]["response"]["files"]
            meta = lines[0]["response"]["meta"]
            assert (meta["seed"], meta["model"], meta["num_frames"]) == (5, "fake", 196)
            got = await server.client.get(file["url"])
            assert (got.headers["content-type"], len(got.content)) == ("application/x-npz", file["bytes"])
            assert got.headers["x-seed"] == "5"
            now = await server.client.post("/v1/generate", json=TEXT | {"seed": 5})
            assert got.content == now.content
            assert {request.priority for request in stages.requests[:3]} == {Priority.BULK}
            assert (await server.client.delete(f"/v1/jobs/{job['id']}")).status_code == 204
            assert (await server.client.get(f"/v1/jobs/{job['id']}")).status_code == 404
            assert (await server.client.get(file["url"])).status_code == 404
            assert not list((tmp_path / "data" / "spool").iterdir())

    run(walk)


def test_a_job_may_ask_for_several_samples(serve: Any, stages: Any, check_problem: Any) -> None:
    async def walk() -> None:
        async with serve() as server:
            accepted = await server.submit({"requests": [TEXT | {"num_samples": 3, "seed": 5, "format": "json"}]})
            job = accepted.json()
            await server.ended(job["id"])
            (line,) = await server.lines(job["id"])
            got = await server.client.get(line["response"]["files"][0]["url"])
            assert [each["seed"] for each in got.json()["meta"]["samples"]] == [5, 6, 7]
            assert line["response"]["meta"]["samples"] == got.json()["meta"]["samples"]
            assert line["response"]["meta"]["samples_failed"] == got.json()["meta"]["samples_failed"] == 0
            refused = await server.submit({"requests": [TEXT, TEXT | {"num_samples": 0}]})
            assert check_problem(refused, 422, "requests[1].num_samples")

    run(walk)


def test_a_job_that_has_ended_can_be_kept(serve: Any) -> None:
    async def walk() -> None:
        async with serve() as server:
            job = await server.accepted(TEXT)
            done = await server.ended(job)
            answer = await server.client.delete(f"/v1/jobs/{job}", params={"forget": "false"})
            assert (answer.status_code, answer.json()) == (200, done)
            assert (await server.look(job))["state"] == "succeeded"
            assert (await server.client.delete(f"/v1/jobs/{job}")).status_code == 204
            assert (await server.client.delete(f"/v1/jobs/{job}", params={"forget": "false"})).status_code == 404

    run(walk)


def test_a_job_is_there_for_its_key_only(serve: Any, tmp_path: Path, check_problem: Any) -> None:
    anna, ben = ({"Authorization": f"Bearer {name}-has-a-long-key"} for name in ("anna", "ben"))
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [{"name": name, "key": f"{name}-has-a-long-key"} for name in ("anna", "ben")]}))
    keys.chmod(0o600)

    async def walk() -> None:
        async with serve() as server:
            before = await server.accepted(TEXT)
            await server.ended(before)
        async with serve(api_keys_file=keys) as server:
            ids = []
            for caller in (anna, ben):
                answer = await server.submit(TEXT, headers=caller | {"Idempotency-Key": "order-1"})
                ids.append(answer.json()["id"])
            assert ids[0] != ids[1]
            server.client.headers.update(anna)
            await server.ended(ids[0])
            assert [job["id"] for job in (await server.client.get("/v1/jobs")).json()["jobs"]] == [ids[0]]
            (line,) = await server.lines(ids[0])
            file = line["response"]["files"][0]["url"]
            assert (await server.client.get(file)).status_code == 200
            server.client.headers.update(ben)
            for job in (ids[0], before):
                for path in ("", "/results"):
                    check_problem(await server.client.get(f"/v1/jobs/{job}{path}"), 404, "id")
                check_problem(await server.client.delete(f"/v1/jobs/{job}"), 404, "id")
            check_problem(await server.client.get(file), 404, "name")
            server.client.headers.update(anna)
            assert (await server.look(ids[0]))["state"] == "succeeded"

    run(walk)


def test_a_job_is_cancelled_and_then_forgotten(serve: Any, stages: Any) -> None:
    left = asyncio.Event

    async def walk() -> None:
        begun, ended = left(), left()

        async def wait(request: MotionRequest) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        stages.action = wait
        async with serve(job_concurrency=1) as server:
            job = await server.accepted(TEXT, TEXT)
            await begun.wait()
            assert (await server.until(job, lambda found: found["counts"]["running"] == 1))["state"] == "running"
            answer = await server.client.delete(f"/v1/jobs/{job}")
            assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
            await ended.wait()
            assert [line["state"] for line in await server.lines(job)] == ["cancelled"] * 2
            assert (await server.client.delete(f"/v1/jobs/{job}")).status_code == 204
            assert (await server.client.delete(f"/v1/jobs/{job}")).status_code == 404

    run(walk)


def test_lists_and_results_come_in_pages(serve: Any, check_problem: Any) -> None:
    async def walk() -> None:
        async with serve() as server:
            jobs = [await server.accepted(TEXT, TEXT, TEXT) for _ in range(3)]
            for job in jobs:
                await server.ended(job)
            first = (await server.client.get("/v1/jobs", params={"limit": 2})).json()
            assert [job["id"] for job in first["jobs"]] == [jobs[2], jobs[1]]
            rest = (await server.client.get("/v1/jobs", params={"limit": 2, "cursor": first["next"]})).json()
            assert ([job["id"] for job in rest["jobs"]], rest["next"]) == ([jobs[0]], None)
            assert (await server.client.get("/v1/jobs", params={"state": "queued"})).json()["jobs"] == []
            assert len((await server.client.get("/v1/jobs", params={"state": "succeeded"})).json()["jobs"]) == 3
            assert [line["index"] for line in await server.lines(jobs[0], offset=1, limit=1)] == [1]
            assert await server.lines(jobs[0], offset=3) == []
            assert await server.lines(jobs[0], offset=1_000_000, limit=5) == []
            for query, field in (
                ("limit=0", "limit"),
                ("limit=1000", "limit"),
                ("cursor=x", "cursor"),
                ("state=x", "state"),
            ):
                check_problem(await server.client.get(f"/v1/jobs?{query}"), 422, field)
            check_problem(await server.client.get(f"/v1/jobs/{jobs[0]}/results?offset=-1"), 422, "offset")
            for path in ("/v1/jobs/x", "/v1/jobs/x/results", "/v1/jobs/job-000000000000-0000000000000000"):
                check_problem(await server.client.get(path), 404, "id")
            for name in ("000009.npz", "..%2f..%2fjobs.sqlite", "000000.json", "jobs.sqlite"):
                answer = await server.client.get(f"/v1/jobs/{jobs[0]}/files/{name}")
                assert answer.status_code == 404, name

    run(walk)


def test_requests_that_somebody_waits_for_go_first(serve: Any, stages: Any) -> None:
    async def walk() -> None:
        go, at_work = asyncio.Event(), 0

        async def wait(request: MotionRequest) -> None:
            nonlocal at_work
            at_work += 1
            if request.priority is Priority.INTERACTIVE:
                await go.wait()

        stages.action = wait
        async with serve(max_ongoing_requests=2) as server:
            waiting = [asyncio.create_task(server.client.post("/v1/generate", json=TEXT)) for _ in range(3)]
            while at_work < 2:
                await asyncio.sleep(0)
            job = await server.accepted(TEXT | {"timeout": 5})
            later = asyncio.create_task(server.client.post("/v1/generate", json=TEXT))
            await server.jobs.page(None, 1, None)
            assert (await server.look(job))["state"] == "queued"
            go.set()
            for task in (*waiting, later):
                assert (await task).status_code == 200
            done = await server.ended(job)
            assert done["state"] == "succeeded"
            (bulk,) = [request for request in stages.requests if request.priority is Priority.BULK]
            assert stages.requests.index(bulk) >= 3
        # Its time began when it was taken up, and not when it was submitted.
        assert bulk.deadline >= datetime.fromisoformat(done["started_at"]).timestamp() + 5 - 0.01

    run(walk)


def test_metrics_tell_what_waits(serve: Any, stages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.http.job_metrics.LOOK_S", 0.0)

    async def walk() -> None:
        begun, go = asyncio.Event(), asyncio.Event()

        async def wait(request: MotionRequest) -> None:
            begun.set()
            await go.wait()

        stages.action = wait
        async with serve(job_concurrency=1) as server:

            async def series() -> dict[str, float]:
                lines = (await server.client.get("/metrics")).text.splitlines()
                pairs = [line.rsplit(" ", 1) for line in lines if line.startswith("choreo_")]
                return {name: float(value) for name, value in pairs}

            before = await series()
            assert (before['choreo_jobs{state="queued"}'], before["choreo_job_oldest_waiting_seconds"]) == (0, 0)
            assert not (tmp_path / "data").exists()
            job = await server.accepted(TEXT, TEXT, TEXT)
            await begun.wait()
            await server.until(job, lambda found: found["state"] == "running")
            found = await series()
            assert found['choreo_jobs{state="running"}'] == 1
            assert found['choreo_job_items{state="queued"}'] == 2
            assert found['choreo_job_items{state="running"}'] == 1
            assert found["choreo_job_oldest_waiting_seconds"] > 0
            go.set()
            await server.ended(job)
            found = await series()
            assert found['choreo_jobs{state="succeeded"}'] == 1
            assert found['choreo_job_items{state="queued"}'] == 0
            assert found["choreo_job_oldest_waiting_seconds"] == 0
            assert found['choreo_queue_seconds_count{priority="bulk"}'] == 3

    run(walk)


def test_the_documents_know_every_route_of_jobs(ingress: Any) -> None:
    paths = ingress.ask("GET", "/openapi.json").json()["paths"]
    found = {path: sorted(paths[path]) for path in paths if path.startswith("/v1/jobs")}
    assert found == {
        "/v1/jobs": ["get", "post"],
        "/v1/jobs/{id}": ["delete", "get"],
        "/v1/jobs/{id}/results": ["get"],
        "/v1/jobs/{id}/files/{name}": ["get"],
    }
    submission = paths["/v1/jobs"]["post"]
    assert {"application/json", "multipart/form-data"} == set(submission["requestBody"]["content"])
    assert {"200", "202", "409", "422", "429", "507"} <= set(submission["responses"])
    assert [parameter["name"] for parameter in submission["parameters"]] == ["Idempotency-Key"]
