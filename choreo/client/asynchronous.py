"""The client for programs with an event loop."""

from collections.abc import AsyncIterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import httpx

from choreo.client import dancing, jobs
from choreo.client.answers import Library, Model, SearchResult, Version
from choreo.client.connection import DEFAULT_TIMEOUT_S, Connection, connection
from choreo.client.dance import Dance
from choreo.client.dancing import DanceTo
from choreo.client.fields import GenerateFields, SearchFields
from choreo.client.job_documents import JobResult, JobStatus
from choreo.client.jobs import Fetched, Watcher
from choreo.client.parts import Features, Start
from choreo.client.retries import Retries
from choreo.client.submission import JobRequest
from choreo.client.transports import AsyncTransport
from choreo.client.uploads import Progress, Source


class AsyncClient:
    """A choreo server, as an asynchronous context manager: `Client` with methods that are awaited.

    Files are decoded in threads. A call that is cancelled closes its connection, and the server stops its work.

    Args:
        url, api_key, timeout_s, retries: see `Client`.
        transport: of httpx, such as `httpx.ASGITransport`; None: the network.

    Raises:
        InvalidInput: an address, key or time that cannot be used.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._at = connection(url, api_key, timeout_s, retries)
        self._transport = AsyncTransport(self._at, transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    @property
    def url(self) -> str:
        """Address of the server."""
        return self._at.url

    async def generate(
        self,
        text: str | None = None,
        *,
        song: Source | None = None,
        features: Features | None = None,
        start: Start | None = None,
        end: Start | None = None,
        clip: Start | None = None,
        rig: Source | None = None,
        leader: Start | None = None,
        seed: int | None = None,
        format: str | None = None,
        timeout_s: float | None = None,
        progress: Progress | None = None,
        **fields: Unpack[GenerateFields],
    ) -> Dance:
        """Make a dance, as `Client.generate` does, with the same errors."""
        to = DanceTo(text, song, features, start, end, clip, rig, leader)
        flow = dancing.generate(self._at, to, fields, seed=seed, format=format, timeout_s=timeout_s, progress=progress)
        return await self._transport.run(flow)

    async def submit(
        self,
        requests: Sequence[JobRequest | Mapping[str, Any]] | None = None,
        *,
        catalog: str | PathLike[str] | None = None,
        songs: Mapping[str, Source] | None = None,
        webhook: str | None = None,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
        progress: Progress | None = None,
    ) -> "AsyncJob":
        """Have many dances made when there is time, as `Client.submit` does, with the same errors."""
        flow = jobs.submit(
            self._at, requests, catalog=catalog, songs=songs, webhook=webhook, idempotency_key=idempotency_key,
            timeout_s=timeout_s, progress=progress,
        )  # fmt: skip
        return AsyncJob(self._at, self._transport, await self._transport.run(flow))

    async def job(self, job_id: str) -> "AsyncJob":
        """A job that was submitted before; see `Client.job`."""
        return AsyncJob(self._at, self._transport, await self._transport.run(jobs.status(self._at, job_id)))

    async def jobs(self, state: str | None = None) -> "AsyncIterator[AsyncJob]":
        """All jobs that the server has, the newest first; see `Client.jobs`."""
        cursor: str | None = None
        while True:
            page = await self._transport.run(jobs.page(self._at, cursor, state))
            for found in page.jobs:
                yield AsyncJob(self._at, self._transport, found)
            if (cursor := page.next) is None:
                return

    async def search(
        self,
        text: str | None = None,
        *,
        song: Source | None = None,
        features: Features | None = None,
        top_n: int = 10,
        timeout_s: float | None = None,
        **fields: Unpack[SearchFields],
    ) -> SearchResult:
        """Search the phrases that a dance would begin from, as `Client.search` does, with the same errors."""
        to = DanceTo(text, song, features)
        return await self._transport.run(dancing.search(self._at, to, fields, top_n=top_n, timeout_s=timeout_s))

    async def models(self) -> tuple[Model, ...]:
        """The served models, the default one first; see `Client.models`."""
        return await self._transport.run(dancing.models(self._at))

    async def library(self) -> Library | None:
        """The phrase library in use; None where there is none; see `Client.library`."""
        return await self._transport.run(dancing.library(self._at))

    async def ready(self) -> bool:
        """Whether the server answers and all its stages do; see `Client.ready`."""
        return await self._transport.run(dancing.ready(self._at))

    async def version(self) -> Version:
        """Versions of the server; see `Client.version`."""
        return await self._transport.run(dancing.version(self._at))


class AsyncJob:
    """A job of a server: `Job` with methods that are awaited.

    Attributes:
        status: as it was when it was last looked at.
    """

    def __init__(self, at: Connection, transport: AsyncTransport, status: JobStatus) -> None:
        self._at, self._transport = at, transport
        self.status = status

    @property
    def id(self) -> str:
        """By which it is found again."""
        return self.status.id

    async def refresh(self) -> JobStatus:
        """Look at the job; see `Job.refresh`."""
        self.status = await self._transport.run(jobs.status(self._at, self.id))
        return self.status

    async def wait(self, progress: Watcher | None = None, timeout_s: float | None = None) -> JobStatus:
        """Wait for the end of the job; see `Job.wait`."""
        self.status = await self._transport.run(jobs.wait(self._at, self.id, progress, timeout_s))
        return self.status

    async def results(self) -> AsyncIterator[JobResult]:
        """What became of every request, in their order; see `Job.results`."""
        offset = 0
        while offset < self.status.counts.total:
            found = await self._transport.run(jobs.results(self._at, self.id, offset))
            for result in found:
                yield result
            offset += len(found)
            if not found:
                return

    async def dance(self, result: JobResult) -> Dance:
        """The dance that a request left; see `Job.dance`."""
        return await self._transport.run(jobs.dance(self._at, self.id, result))

    async def download(self, folder: str | PathLike[str], progress: Fetched | None = None) -> tuple[Path, ...]:
        """Fetch all files, and the results as `results.jsonl`; see `Job.download`."""
        return await self._transport.run(jobs.download(self._at, self.id, folder, progress))

    async def cancel(self) -> JobStatus:
        """End the job; see `Job.cancel`."""
        self.status = await self._transport.run(jobs.cancel(self._at, self.id))
        return self.status

    async def forget(self) -> None:
        """Remove a job that has ended from the server; see `Job.forget`."""
        await self._transport.run(jobs.forget(self._at, self.id))
