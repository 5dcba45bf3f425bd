"""A replica of the ingress that Ray stops leaves no request of a job behind."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.jobs.database import Database
from serving.jobs.records import JobState
from serving.jobs.store import JobStore
from serving.ray import app
from serving.ray.app import ListeningIngress, ProxiedIngress
from serving.settings import Settings
from serving.util.logs import LogOptions

TEXT = {"text_prompt": "a slow waltz", "format": "npz"}


class FakeHandle:
    """A handle to a stage of this process."""

    def __init__(self, stage: Any) -> None:
        self._stage = stage

    def options(self, **given: Any) -> "FakeHandle":
        return self

    def __getattr__(self, name: str) -> Any:
        return FakeMethod(getattr(self._stage, name, None))


class FakeMethod:
    """A method of such a handle."""

    def __init__(self, method: Any) -> None:
        self._method = method

    def remote(self, *args: Any, call_context: Any = None) -> "asyncio.Task[Any]":
        return asyncio.ensure_future(self._method(*args))


class FakeServer:
    """Listens nowhere."""

    def __init__(self, *given: Any, **more: Any) -> None:
        self.stopped = False

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        self.stopped = True


def proxied(settings: Settings, stages: list[FakeHandle]) -> Any:
    return ProxiedIngress(settings, LogOptions(), *stages)


def listening(settings: Settings, stages: list[FakeHandle]) -> Any:
    return ListeningIngress(("127.0.0.1", 0), settings, LogOptions(), *stages)


@pytest.mark.filterwarnings("ignore:coroutine '.*__del__' was never awaited")  # the collector calls it once more
@pytest.mark.parametrize("make", [proxied, listening])
def test_requests_of_jobs_go_back_at_once(
    make: Callable[..., Any], stages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "HttpServer", FakeServer)
    for name in ("configure", "adopt_foreign"):  # the logs of this process stay as they are
        monkeypatch.setattr(app, name, lambda *_: None)
    settings = Settings(data_dir=tmp_path / "data", job_lease_s=3600)

    async def walk() -> None:
        begun = asyncio.Event()

        async def never(request: Any) -> None:
            begun.set()
            await asyncio.Event().wait()

        stages.action = never
        own = stages.stages()
        handles = [FakeHandle(stage) for stage in (own.encoder, own.retriever, own.sampler, own.finisher)]
        ingress = make(settings, handles)
        transport = httpx.ASGITransport(ingress._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://choreo.test", timeout=30) as client:
            job = (await client.post("/v1/jobs", json=TEXT)).json()["id"]
            await begun.wait()
        await ingress.__del__()
        assert getattr(ingress, "_server", FakeServer()).stopped is (make is listening)
        database = Database(settings.jobs_database)
        (item,) = JobStore(database, 10).results(job, 0, 1)
        assert item.state is JobState.QUEUED
        database.close()

    asyncio.run(asyncio.wait_for(walk(), 60))
