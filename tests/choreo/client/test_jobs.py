"""Jobs as both clients see them, against a fake server over real connections."""

import asyncio
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_job_server import FakeJobServer
from http_thread import served
from in_loop import InLoop

from choreo.client import AsyncClient, AsyncJob, Client, Job, Retries, jobs
from choreo.errors import BackendUnavailable, Conflict, DeadlineExceeded, InvalidInput, NotFound, UnexpectedAnswer

QUICK = Retries(first_s=0.01, longest_s=0.02)
WALTZES = [{"text_prompt": "waltz", "seed": i} for i in range(5)]
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def server() -> FakeJobServer:
    return FakeJobServer()


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, server: FakeJobServer) -> Iterator[Any]:
    with served(server) as url:
        if request.param == "sync":
            with Client(url, retries=QUICK) as blocking:
                yield blocking
            return
        with asyncio.Runner() as runner:
            awaited = InLoop(AsyncClient(url, retries=QUICK), runner.get_loop())
            yield awaited
            awaited.close()


def test_a_job_from_submission_to_its_files(client: Any, server: FakeJobServer, tmp_path: Path) -> None:
    seen: list[str] = []
    job = client.submit(WALTZES, webhook="https://example.org/hook")
    status = job.wait(lambda status: seen.append(status.state))
    assert seen == ["queued", "running", "succeeded"]
    assert (status.state, status.ended, job.status.counts.total) == ("succeeded", True, 5)
    results = list(job.results())
    assert [(r.index, r.ok, r.meta.get("seed")) for r in results[:3]] == [(0, True, 0), (1, True, 1), (2, False, None)]
    assert isinstance(results[2].error, InvalidInput)
    assert results[2].error.field == "audio"
    folder = tmp_path / "out" / "more"
    paths = job.download(folder)
    assert [path.name for path in paths] == [f"{i:06}.bvh" for i in (0, 1, 3, 4)]
    assert all(path.read_bytes() == server.body for path in paths)
    lines = (folder / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == [0, 1, 2, 3, 4]
    (kept,) = server.jobs.values()
    assert kept.webhook == "https://example.org/hook"
    assert kept.rows[0] == {"body": {"format": "npz", "text_prompt": "waltz", "seed": 0}}


def test_results_come_in_pages(client: Any, server: FakeJobServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PAGE_RESULTS", 2)
    job = client.submit(WALTZES)
    assert [result.index for result in job.results()] == [0, 1, 2, 3, 4]
    assert [path for _, path in server.asked].count(f"/v1/jobs/{job.id}/results") == 3


def test_files_that_are_there_are_not_fetched_again(client: Any, server: FakeJobServer, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    job = client.submit(WALTZES)
    job.download(tmp_path)
    (tmp_path / "000001.bvh").write_bytes(b"HIERARCHZ")
    server.asked.clear()
    job.download(tmp_path, lambda *counts: told.append(counts))
    assert [path for _, path in server.asked if "/files/" in path] == ["/v1/jobs/job-0/files/000001.bvh"]
    assert (tmp_path / "000001.bvh").read_bytes() == server.body
    assert told == [(i, 5) for i in range(1, 6)]


def test_a_file_that_is_not_what_the_results_say_is_not_kept(
    client: Any, server: FakeJobServer, tmp_path: Path
) -> None:
    server.broken_file = True
    job = client.submit(WALTZES)
    with pytest.raises(UnexpectedAnswer, match="is not what its results say"):
        job.download(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="folder"):
        job.download(tmp_path / "file")


def test_a_dance_of_a_job(client: Any, server: FakeJobServer) -> None:
    job = client.submit(WALTZES)
    first, _, third, *_ = job.results()
    dance = job.dance(first)
    assert (dance.format, dance.seed, dance.content) == ("bvh", 1, server.body)
    with pytest.raises(InvalidInput, match="is no song"):
        job.dance(third)


def test_a_submission_whose_answer_is_lost_is_kept_once(client: Any, server: FakeJobServer, tmp_path: Path) -> None:
    server.lose, server.away = 2, 1
    song = tmp_path / "song.wav"
    song.write_bytes(b"RIFF" * 1000)
    rows = [{"audio": song}, {"custom_id": "b", "body": {"audio": b"other"}}, {"audio": str(song), "seed": 1}]
    client.submit(rows)
    assert len(server.asked) == 4
    (job,) = server.jobs.values()
    assert job.uploads == {"file-0": b"RIFF" * 1000, "file-1": b"other"}
    assert [row["body"]["audio"] for row in job.rows] == ["file-0", "file-1", "file-0"]
    assert job.rows[1]["custom_id"] == "b"


def test_a_key_of_ones_own(client: Any) -> None:
    first = client.submit(WALTZES, idempotency_key="k1")
    assert client.submit(WALTZES, idempotency_key="k1").id == first.id
    assert client.submit(WALTZES).id != first.id
    with pytest.raises(Conflict):
        client.submit(WALTZES[:1], idempotency_key="k1")


def test_catalogs_with_their_songs(client: Any, server: FakeJobServer, tmp_path: Path) -> None:
    (tmp_path / "songs").mkdir()
    (tmp_path / "songs" / "a.wav").write_bytes(b"aaa")
    np.save(tmp_path / "f.npy", np.zeros((3, 35), np.float32))
    rows = [{"custom_id": "1", "body": {"audio": "songs/a.wav"}}, {"body": {"features": "f.npy", "format": "bvh"}}]
    rows.append({"body": {"audio": "elsewhere", "seed": 3}})
    catalog = tmp_path / "catalog.jsonl"
    catalog.write_text("\n\n".join(map(json.dumps, rows)) + "\n")
    left: list[int] = []
    client.submit(catalog=catalog, songs={"elsewhere": b"eee"}, progress=lambda sent, all: left.append(all - sent))
    (job,) = server.jobs.values()
    assert job.uploads["file-0"] == b"aaa"
    assert job.uploads["file-1"] == (tmp_path / "f.npy").read_bytes()
    assert job.uploads["file-2"] == b"eee"
    assert [row["body"].get("format") for row in job.rows] == ["npz", "bvh", "npz"]
    assert left[-1] == 0


def test_bytes_of_a_start_are_sent_as_they_are(client: Any, server: FakeJobServer, tmp_path: Path) -> None:
    (tmp_path / "catalog.jsonl").write_text('{"body": {"start": "a", "up": "z", "text_prompt": "x"}}')
    client.submit([{"start": b"PK", "up": "z", "features": b"NUMPY"}])
    client.submit(catalog=tmp_path / "catalog.jsonl", songs={"a": b"PK"})
    for job in server.jobs.values():
        assert job.uploads[job.rows[0]["body"]["start"]] == b"PK"
        assert job.rows[0]["body"]["up"] == "z"


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ('{"body": {}}\nno json', "catalog[2]"), ("[]", "catalog[1]"), ('{"text_prompt": "a"}', "catalog[1]"),
        ('{"body": 3}', "catalog[1].body"), ('\n{"body": {"audio": "../x.wav"}}', "catalog[2].body.audio"),
        ('{"body": {"audio": "/etc/passwd"}}', "catalog[1].body.audio"), ("\0", "catalog[1]"),
        ('{"body": {"audio": 3}}', "catalog[1].body.audio"), ("[" * 100_000, "catalog[1]"), ("\ufeff{}", "catalog[1]"),
        ('{"body": {"audio": "gone.wav"}}', "catalog[1].body.audio"),
        ('{"body": {"seed": [1]}}', "catalog[1].body.seed"), ('{"body": {"start": "a.txt"}}', "catalog[1].body.start"),
        ('{"body": {"audio": "a\\u0000b"}}', "catalog[1].body.audio"),
    ],
)  # fmt: skip
def test_catalogs_that_cannot_be_sent(lines: str, field: str, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "x.wav").write_bytes(b"x")
    catalog = tmp_path / "inner" / "catalog.jsonl"
    catalog.write_text(lines)
    with Client(NOWHERE) as client, pytest.raises(InvalidInput) as caught:
        client.submit(catalog=catalog)
    assert caught.value.field == field
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "requests"), ({"requests": [], "catalog": "c"}, "requests"), ({"requests": "waltz"}, "requests"),
        ({"requests": [3]}, "requests[0]"), ({"requests": [{}, {"body": []}]}, "requests[1].body"),
        ({"requests": [{"audio": "/nowhere.wav"}]}, "requests[0].audio"), ({"catalog": "/nowhere"}, "catalog"),
        ({"requests": [{"features": "/nowhere.npy"}]}, "requests[0].features"),
        ({"requests": [{"custom_id": [3], "body": {}}]}, "requests[0].custom_id"),
        ({"requests": [{}], "webhook": "\ud800"}, "webhook_url"),
        ({"requests": [{"text_prompt": "\ud800"}]}, "requests[0].text_prompt"),
        ({"requests": [{}], "songs": {"a": b"a"}}, "songs"), ({"requests": [{"start": 3}]}, "requests[0].start"),
        ({"requests": [{}], "idempotency_key": "a b"}, "idempotency_key"),
        ({"requests": [{}], "idempotency_key": "k" * 1024}, "idempotency_key"),
    ],
)  # fmt: skip
def test_submissions_that_cannot_be_sent(given: dict[str, Any], field: str) -> None:
    with Client(NOWHERE) as client, pytest.raises(InvalidInput) as caught:
        client.submit(**given)
    assert caught.value.field == field


def test_a_wrong_request_has_the_callers_name(client: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        client.submit([{"audio": b"a"}, {"audio": b"b", "num_steps": 0}])
    assert caught.value.field == "requests[1].body.num_steps"
    (tmp_path / "c.jsonl").write_text('\n{"body": {"num_steps": 0}}')
    with pytest.raises(InvalidInput) as caught:
        client.submit(catalog=tmp_path / "c.jsonl")
    assert caught.value.field == "catalog[2].body.num_steps"


def test_waiting_outlasts_a_server_that_is_away(client: Any, server: FakeJobServer) -> None:
    job = client.submit(WALTZES)
    server.away, server.lose = 3, 1
    assert job.wait().state == "succeeded"


def test_waiting_ends_and_the_job_goes_on(client: Any, server: FakeJobServer) -> None:
    server.states = ("running",)
    job = client.submit(WALTZES)
    with pytest.raises(DeadlineExceeded, match="job-0 is running"):
        job.wait(timeout_s=0.01)
    assert job.refresh().state == "running"


def test_cancelling_never_forgets(client: Any, server: FakeJobServer) -> None:
    server.states = ("running",)
    running = client.submit(WALTZES)
    server.states = ("succeeded",)
    ended = client.submit(WALTZES)
    assert (running.cancel().state, ended.cancel().state) == ("cancelled", "succeeded")
    assert (running.cancel().state, running.status.state) == ("cancelled", "cancelled")
    assert len(server.jobs) == 2


def test_a_cancellation_whose_answer_is_lost(client: Any, server: FakeJobServer) -> None:
    server.states = ("running",)
    job = client.submit(WALTZES)
    server.lose_deletes = 1
    assert job.cancel().state == "cancelled"
    assert [method for method, _ in server.asked].count("DELETE") == 2
    assert len(server.jobs) == 1


def test_jobs_are_found_again_listed_and_forgotten(client: Any, server: FakeJobServer) -> None:
    for _ in range(3):
        client.submit(WALTZES)
    server.jobs["job-1"].states = ["succeeded"]
    assert [job.id for job in client.jobs()] == ["job-2", "job-1", "job-0"]
    assert [job.id for job in client.jobs("succeeded")] == ["job-1"]
    with pytest.raises(InvalidInput, match="job-0 is "):
        client.job("job-0").forget()
    client.job("job-1").forget()
    assert set(server.jobs) == {"job-0", "job-2"}
    with pytest.raises(NotFound):
        client.job("job-1")
    with pytest.raises(InvalidInput):
        client.job("../models")


def test_no_server_is_an_error_at_once() -> None:
    with Client(NOWHERE, retries=QUICK) as client, pytest.raises(BackendUnavailable, match="no server"):
        client.submit(WALTZES)


def test_both_jobs_have_the_same_methods() -> None:
    def public(kind: type) -> dict[str, Any]:
        found = {n: v for n, v in vars(kind).items() if not n.startswith("_") and inspect.isroutine(v)}
        return {name: str(inspect.signature(value)).replace("Async", "") for name, value in found.items()}

    assert public(Job) == public(AsyncJob)
