"""What tests of jobs ask of a server."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from serving.jobs.service import Jobs

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


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))  # type: ignore[arg-type]
