"""Several servers over one PostgreSQL database and one spool."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine

from serving.http.ingress import create_app
from serving.jobs.schema import METADATA
from serving.pipeline.request import MotionRequest
from serving.settings import Settings

pytestmark = pytest.mark.slow

TEXT = {"text_prompt": "a slow waltz", "format": "npz"}


@asynccontextmanager
async def server(url: str, spool: str, stages: Any, folder: Path, **given: Any) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(data_dir=folder, jobs_url=url, jobs_spool=spool, job_lease_s=1, **given)
    app = create_app(settings, stages.stages())
    app.state.jobs.start()
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://choreo.test", timeout=30) as client:
        try:
            yield client
        finally:
            await app.state.jobs.close()


async def until(client: httpx.AsyncClient, job: str, state: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while (found := (await client.get(f"/v1/jobs/{job}")).json())["state"] != state:
            await asyncio.sleep(0.02)
    return dict(found)


@pytest.fixture
def database(postgres_url: str) -> Any:
    yield postgres_url
    engine = create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:"))
    METADATA.drop_all(engine)
    engine.dispose()


def test_every_request_is_danced_once(database: str, stages: Any, tmp_path: Path) -> None:
    async def walk() -> None:
        spool = f"memory://{tmp_path.name}"
        async with (
            server(database, spool, stages, tmp_path, job_concurrency=3) as one,
            server(database, spool, stages, tmp_path, job_concurrency=3) as other,
        ):
            body = {"requests": [TEXT | {"seed": seed} for seed in range(40)]}
            key = {"Idempotency-Key": "same"}
            answers = await asyncio.gather(*(at.post("/v1/jobs", json=body, headers=key) for at in (one, other) * 3))
            (job,) = {answer.json()["id"] for answer in answers}
            done = await until(other, job, "succeeded")
            assert done["counts"]["succeeded"] == 40
            assert sorted(request.seed for request in stages.requests) == list(range(40))
            got = [await at.get(f"/v1/jobs/{job}/files/000007.npz") for at in (one, other)]
            assert got[0].content == got[1].content
            assert got[0].headers["x-seed"] == "7"

    asyncio.run(walk())


def test_a_job_is_cancelled_at_any_server(database: str, stages: Any, tmp_path: Path) -> None:
    async def walk() -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def wait(request: MotionRequest) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        stages.action = wait
        async with server(database, "", stages, tmp_path) as one:
            job = (await one.post("/v1/jobs", json=TEXT)).json()["id"]
            await begun.wait()
            async with server(database, "", stages, tmp_path) as other:
                assert (await other.delete(f"/v1/jobs/{job}")).json()["state"] == "cancelled"
                async with asyncio.timeout(30):
                    await ended.wait()

    asyncio.run(walk())
