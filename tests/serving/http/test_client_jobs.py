"""Both clients submit, watch, fetch and cancel jobs of the real ingress, also across a restart of it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from http_thread import served
from in_loop import InLoop

from choreo.client import AsyncClient, Client
from choreo.errors import Conflict, InvalidInput, NotFound
from choreo.motion.formats.npz import read_npz
from serving.http.ingress import create_app
from serving.pipeline.request import MotionRequest
from serving.settings import Settings

WALTZES = [{"text_prompt": "waltz", "seed": i, "duration": 1.0, "num_steps": 2} for i in range(4)]


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Any]]:
    """Makes clients of an address."""
    with ExitStack() as stack:
        loop = stack.enter_context(asyncio.Runner()).get_loop()

        def make(url: str) -> Any:
            client: Any = Client(url) if request.param == "sync" else InLoop(AsyncClient(url), loop)
            stack.callback(client.close)
            return client

        yield make


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def client(connect: Callable[[str], Any], settings: Settings, stages: Any) -> Iterator[Any]:
    with served(create_app(settings, stages.stages())) as url:
        yield connect(url)


def test_the_walk(client: Any, tmp_path: Path) -> None:
    seen: list[float] = []
    job = client.submit([*WALTZES[:3], {"custom_id": "film", "body": WALTZES[3] | {"format": "mp4"}}])
    assert job.wait(lambda status: seen.append(status.progress)).state == "succeeded"
    assert seen == sorted(seen)
    assert seen[-1] == 1
    results = list(job.results())
    assert [(r.index, r.custom_id, r.ok, r.meta["seed"]) for r in results] == [
        (0, None, True, 0), (1, None, True, 1), (2, None, True, 2), (3, "film", True, 3),
    ]  # fmt: skip
    assert job.dance(results[1]).positions.shape == (30, 22, 3)
    paths = job.download(tmp_path / "out")
    assert len(paths) == 4
    assert read_npz(paths[2]).meta["seed"] == 2
    assert paths[3].read_bytes() == b"film"
    lines = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [line["response"]["files"][0]["name"] for line in lines] == [path.name for path in paths]
    assert [found.id for found in client.jobs()] == [job.id]
    job.forget()
    with pytest.raises(NotFound):
        job.refresh()


def test_songs_are_sent_with_requests_and_catalogs(client: Any, stages: Any, tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_bytes(b"RIFF")
    (tmp_path / "c.jsonl").write_text('{"custom_id": "a", "body": {"audio": "song.wav", "seed": 1}}\n')
    client.submit([{"audio": b"ID3", "seed": 2}, {"audio": tmp_path / "song.wav", "seed": 3}]).wait()
    client.submit(catalog=tmp_path / "c.jsonl").wait()
    assert {request.seed: request.audio for request in stages.requests} == {1: b"RIFF", 2: b"ID3", 3: b"RIFF"}


def test_one_bad_request_fails_alone(client: Any, stages: Any) -> None:
    async def refuse(request: MotionRequest) -> None:
        if request.seed == 2:
            raise InvalidInput("audio", "is no song")

    stages.action = refuse
    job = client.submit(WALTZES)
    assert job.wait().state == "succeeded"
    results = list(job.results())
    assert [result.ok for result in results] == [True, True, False, True]
    with pytest.raises(InvalidInput, match="is no song"):
        job.dance(results[2])


def test_what_is_wrong_with_a_submission_is_named(client: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        client.submit([*WALTZES, {"text_prompt": "waltz", "num_steps": 0}])
    assert caught.value.field == "requests[4].body.num_steps"
    with pytest.raises(InvalidInput) as caught:
        client.submit([{"audio": b"RIFF"}, {"audio": b"RIFF", "num_steps": 0}])
    assert caught.value.field == "requests[1].body.num_steps"
    with pytest.raises(InvalidInput) as caught:
        client.submit([])
    assert caught.value.field == "requests"
    client.submit(WALTZES, idempotency_key="key")
    with pytest.raises(Conflict):
        client.submit(WALTZES[:1], idempotency_key="key")


def test_a_job_is_cancelled_and_one_that_has_ended_is_not_forgotten(client: Any, stages: Any) -> None:
    async def never(request: MotionRequest) -> None:
        await asyncio.Event().wait()

    stages.action = never
    job = client.submit(WALTZES)
    assert job.cancel().state == "cancelled"
    assert job.cancel().state == "cancelled"
    assert {result.state for result in job.results()} == {"cancelled"}


def test_a_job_outlasts_the_server(
    connect: Callable[[str], Any], settings: Settings, stages: Any, tmp_path: Path
) -> None:
    async def never(request: MotionRequest) -> None:
        await asyncio.Event().wait()

    with served(create_app(settings, stages.stages())) as url:
        stages.action = never
        job = connect(url).submit(WALTZES)
    stages.__init__()
    with served(create_app(settings, stages.stages()), port=int(url.rpartition(":")[2])):
        assert job.wait().state == "succeeded"
        assert len(job.download(tmp_path / "out")) == 4
