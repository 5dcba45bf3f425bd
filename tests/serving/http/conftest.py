"""A server of jobs over stages in this process."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from served_jobs import Server

from serving.http.ingress import create_app
from serving.settings import Settings


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
