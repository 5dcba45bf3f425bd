"""Jobs that are submitted: songs, catalogs, keys, what is refused, and what stops a server from accepting any."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from served_jobs import TEXT, run

from serving.jobs.spool import Spool
from serving.pipeline.request import MotionRequest


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
