"""Jobs as their callers see them, over stages in this process and a real database."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from choreo.errors import BackendUnavailable, NonFiniteOutput
from serving.http.ingress import create_app
from serving.jobs.service import Jobs
from serving.jobs.spool import Spool
from serving.pipeline.request import MotionRequest, Priority
from serving.settings import Settings

TEXT = {"text_prompt": "a slow waltz", "format": "npz"}
ENDED = ("succeeded", "failed", "cancelled")


@dataclass
class Server:
    """A server that is up."""

    client: httpx.AsyncClient
    jobs: Jobs

    async def submit(self, body: Any, **given: Any) -> httpx.Response:
        return await self.client.post("/v1/jobs", json=body, **given)

    async def accepted(self, *bodies: dict[str, Any]) -> str:
        answer = await self.submit({"requests": list(bodies)})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def look(self, job: str) -> dict[str, Any]:
        answer = await self.client.get(f"/v1/jobs/{job}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def until(self, job: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while not condition(found := await self.look(job)):
                await asyncio.sleep(0.01)
        return found

    async def ended(self, job: str) -> dict[str, Any]:
        return await self.until(job, lambda found: found["state"] in ENDED)

    async def lines(self, job: str, **query: int) -> list[dict[str, Any]]:
        answer = await self.client.get(f"/v1/jobs/{job}/results", params=query)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in answer.text.splitlines()]


@pytest.fixture
def serve(stages: Any, tmp_path: Path) -> Callable[..., Any]:
    """Starts a server over the same folder each time."""

    @asynccontextmanager
    async def one(**settings: Any) -> AsyncIterator[Server]:
        app = create_app(Settings(data_dir=tmp_path / "data", **settings), stages.stages())
        app.state.jobs.start()
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://choreo.test", timeout=30) as client:
            try:
                yield Server(client, app.state.jobs)
            finally:
                await app.state.jobs.close()

    return one


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))  # type: ignore[arg-type]


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


def test_one_request_with_its_song_is_a_job_too(serve: Any, stages: Any) -> None:
    async def walk() -> None:
        async with serve() as server:
            songs = [base64.b64encode(data).decode() for data in (b"RIFF1", b"RIFF2" * 100_000)]
            answers = [
                await server.submit(TEXT | {"audio": songs[0]}),
                await server.submit({"requests": [{"audio": song} for song in songs]}),
                await server.client.post(
                    "/v1/jobs", data={"text_prompt": "x", "duration": "2"}, files={"audio": ("a.wav", b"RIFF3")}
                ),
            ]
            for answer in answers:
                assert (await server.ended(answer.json()["id"]))["state"] == "succeeded"
            heard = [request.audio for request in stages.requests]
            assert sorted(heard) == [b"RIFF1", b"RIFF1", b"RIFF2" * 100_000, b"RIFF3"]

    run(walk)


def test_a_catalog_comes_with_its_songs(serve: Any, stages: Any) -> None:
    rows = [
        {"custom_id": "a", "body": {"audio": "one.wav", "seed": 1}},
        {"custom_id": "b", "body": {"audio": "second", "seed": 2}},
        {"custom_id": "c", "body": {"audio": "one.wav", "seed": 3, "text_prompt": "tango"}},
    ]
    catalog = "\n\n".join(map(json.dumps, rows)).encode()

    async def walk() -> None:
        async with serve() as server:
            files = [
                ("catalog", ("catalog.jsonl", catalog)),
                ("song", ("one.wav", b"RIFF1")),
                ("second", ("two.wav", b"RIFF2")),
            ]
            job = (await server.client.post("/v1/jobs", files=files)).json()["id"]
            await server.ended(job)
            assert [line["custom_id"] for line in await server.lines(job)] == ["a", "b", "c"]
            heard = {request.seed: request.audio for request in stages.requests}
            assert heard == {1: b"RIFF1", 2: b"RIFF2", 3: b"RIFF1"}

    run(walk)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"requests": []}, "requests"),
        ({"requests": {}}, "requests"),
        ({"requests": [TEXT] * 6}, "requests"),
        ({"requests": [TEXT, 3]}, "requests[1]"),
        ({"requests": [TEXT, {}]}, "requests[1].text_prompt"),
        ({"requests": [TEXT, TEXT | {"duration": -1}]}, "requests[1].duration"),
        ({"requests": [TEXT | {"seed": "3"}]}, "requests[0].seed"),
        ({"requests": [TEXT | {"model": "other"}]}, "requests[0].model"),
        ({"requests": [TEXT | {"audio": "§"}]}, "requests[0].audio"),
        ({"requests": [TEXT | {"audio_url": "https://example.org/a"}]}, "requests[0].audio_url"),
        ({"requests": [TEXT | {"start": "AAAA"}]}, "requests[0].start"),
        ({"requests": [TEXT | {"unknown": 1}]}, "requests[0].unknown"),
        ({"requests": [{"body": TEXT | {"duration": [1]}}]}, "requests[0].body.duration"),
        ({"requests": [{"body": TEXT, "id": 1}]}, "requests[0].id"),
        ({"requests": [{"body": [TEXT]}]}, "requests[0].body"),
        ({"requests": [{"body": TEXT, "custom_id": "a\n"}]}, "requests[0].custom_id"),
        ({"requests": [{"body": TEXT, "custom_id": "a"}] * 2}, "requests[1].custom_id"),
        ({"requests": [TEXT], "format": "npz"}, "format"),
        (TEXT | {"duration": 0}, "duration"),
        ({}, "text_prompt"),
        (TEXT | {"webhook": {"url": "https://example.org/"}}, "webhook"),
        (TEXT | {"bpm": 120}, "bpm"),
        ({"requests": [{"audio": "UklGRg==", "beats": [0, 1, 0.5]}]}, "requests[0].beats.2"),
    ],
)
def test_bad_jobs_are_refused_whole(
    serve: Any, check_problem: Any, stages: Any, tmp_path: Path, body: Any, field: str
) -> None:
    async def walk() -> None:
        async with serve(max_job_requests=5) as server:
            check_problem(await server.submit(body), 422, field)
            assert (await server.client.get("/v1/jobs")).json()["jobs"] == []

    run(walk)
    assert not stages.requests
    assert not (tmp_path / "data").exists()


def test_constants_that_json_does_not_have_are_named(serve: Any, check_problem: Any) -> None:
    async def walk() -> None:
        async with serve() as server:
            headers = {"Content-Type": "application/json"}
            body = b'{"requests": [{"text_prompt": "a"}, {"text_prompt": "a", "duration": NaN}]}'
            check_problem(
                await server.client.post("/v1/jobs", content=body, headers=headers), 422, "requests[1].duration"
            )
            body = b'{"requests": [{"body": {"audio": "UklGRg==", "beats": [0, 1, NaN]}}, {"beats": [NaN]}]}'
            answer = await server.client.post("/v1/jobs", content=body, headers=headers)
            check_problem(answer, 422, "requests[0].body.beats.2")
            body = b'{"requests": [{"audio": "UklGRg==", "beats": [0, Infinity]}]}'
            answer = await server.client.post("/v1/jobs", content=body, headers=headers)
            check_problem(answer, 422, "requests[0].beats.1")
            deep = b'{"requests": ' + b"[" * 50 + b"]" * 50 + b"}"
            check_problem(await server.client.post("/v1/jobs", content=deep, headers=headers), 422, "requests[0]")
            check_problem(await server.client.post("/v1/jobs", content=b"x"), 415, "Content-Type")

    run(walk)


@pytest.mark.parametrize(
    ("catalog", "field"),
    [
        (b"", "catalog"),
        (b"\xff\xfe", "catalog[1]"),
        (b'{"body": {"audio": "song"}}\n[]', "catalog[2]"),
        (b'\n{"body": {"audio": "other"}}', "catalog[2].body.audio"),
        (b'{"body": {"audio": 3}}', "catalog[1].body.audio"),
        (b'{"body": {"audio": "same"}}', "catalog[1].body.audio"),
        (b'{"body": {"audio": "song", "duration": Infinity}}', "catalog[1].body.duration"),
        (b'{"body": {"audio": "song"}, "song": 1}', "catalog[1].song"),
        (b'{"body": {"audio": "song", "beats": [0, 1, 1]}}', "catalog[1].body.beats.2"),
        (b'{"body": {"audio": "song"}}\n' * 6, "catalog"),
        (b'{"body": {"text_prompt": "' + b"a" * (1 << 20) + b'"}}', "catalog[1].body.text_prompt"),
    ],
)
def test_bad_catalogs_name_line_and_field(serve: Any, check_problem: Any, catalog: bytes, field: str) -> None:
    async def walk() -> None:
        async with serve(max_job_requests=5) as server:
            files = [("song", ("song", b"RIFF")), ("same", ("a", b"1")), ("same", ("b", b"2"))]
            answer = await server.client.post("/v1/jobs", files=[("catalog", ("c", catalog)), *files])
            check_problem(answer, 422, field)

    run(walk)


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


def test_one_key_is_one_job(serve: Any, check_problem: Any, stages: Any) -> None:
    async def walk() -> None:
        async with serve() as server:
            body, key = {"requests": [TEXT, TEXT]}, {"Idempotency-Key": "order-66"}
            answers = await asyncio.gather(*(server.submit(body, headers=key) for _ in range(8)))
            assert {answer.status_code for answer in answers} <= {200, 202}
            (job,) = {answer.json()["id"] for answer in answers}
            await server.ended(job)
            again = await server.submit(body, headers=key)
            assert (again.status_code, again.json()["id"]) == (200, job)
            check_problem(await server.submit({"requests": [TEXT]}, headers=key), 409, "Idempotency-Key")
            assert len(stages.requests) == 2
            for bad in ("k" * 1024, "a b", "", "k\u00e9".encode("latin-1")):
                check_problem(await server.submit(body, headers={"Idempotency-Key": bad}), 422, "Idempotency-Key")

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


def test_waiting_jobs_are_bounded(serve: Any, stages: Any, check_problem: Any) -> None:
    async def forever(request: MotionRequest) -> None:
        await asyncio.Event().wait()

    stages.action = forever

    async def walk() -> None:
        async with serve(max_waiting_jobs=1) as server:
            key = {"Idempotency-Key": "k"}
            job = (await server.submit(TEXT, headers=key)).json()["id"]
            refused = await server.submit(TEXT)
            check_problem(refused, 429)
            assert int(refused.headers["retry-after"]) > 0
            assert (await server.submit(TEXT, headers=key)).json()["id"] == job

    run(walk)


def test_a_full_disk_leaves_nothing_of_a_job(
    serve: Any, check_problem: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    song = {"audio": base64.b64encode(b"RIFF" * 1000).decode()}

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    async def walk() -> None:
        async with serve(max_jobs_bytes=3000) as server:
            check_problem(await server.submit(song), 507)
        async with serve() as server:
            with monkeypatch.context() as patch:
                patch.setattr("serving.jobs.spool.atomic_write", full)
                check_problem(await server.submit(song), 507)
            assert (await server.client.get("/v1/jobs")).json()["jobs"] == []
            assert Spool(str(tmp_path / "data" / "spool")).jobs() == []

    run(walk)


def test_a_folder_that_cannot_be_written_is_told(serve: Any, check_problem: Any, tmp_path: Path) -> None:
    (tmp_path / "data").touch()

    async def walk() -> None:
        async with serve() as server:
            problem = check_problem(await server.submit(TEXT), 503)
            assert str(tmp_path) not in problem["detail"]
            assert (await server.client.post("/v1/generate", json=TEXT)).status_code == 200

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
