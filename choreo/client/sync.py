"""The client for programs without an event loop."""

from collections.abc import Iterator, Mapping, Sequence
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
from choreo.client.transports import BlockingTransport
from choreo.client.uploads import Progress, Source


class Client:
    """A choreo server, as a context manager. One client may be used by many threads.

    Args:
        url: address of the server; None: the variable CHOREO_URL, or http://127.0.0.1:8000.
        api_key: sent as a bearer token; None: the variable CHOREO_API_KEY, or none.
        timeout_s: deadline of a call that names none, seconds.
        retries: how requests are repeated.
        transport: of httpx; None: the network, where the proxies of the environment are used unless the server is on
            this machine.

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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._at = connection(url, api_key, timeout_s, retries)
        self._transport = BlockingTransport(self._at, transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    @property
    def url(self) -> str:
        """Address of the server."""
        return self._at.url

    def generate(
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
        """Make a dance.

        Args:
            text: what to dance, in words.
            song: path, bytes or open file of a song.
            features: path or bytes of an .npy, or array (T, 35) or (T, 4800), of music features at 30 fps, in place of
                a song.
            start: path of a motion file (npz, json, bvh), or a motion, that the dance begins with; it is turned upright
                here. Bytes of an .npz are sent as they are.
            end: the same, of a motion that the dance ends with.
            clip: the same, of a motion that `constraints` take spans or poses of.
            rig: path, bytes or open file of your own character (.glb, .vrm, .bvh); the content is then this file with
                the dance in it.
            leader: path of a motion file, or a motion, of one dancer whom a duet model gives a partner.
            seed: same seed, same dance; None: drawn here, see `Dance.seed`.
            format: npz and json are read, any other format of the server is handed out as bytes; None: npz, or with a
                rig that of its file.
            timeout_s: seconds until the dance is of no use, for all attempts together.
            progress: called with the bytes sent and the bytes to send while files are uploaded.
            **fields: see `GenerateFields`.

        Raises:
            InvalidInput: a field is wrong.
            DeadlineExceeded: there was no dance in time.
            Overloaded, BackendUnavailable: the server could not take the request, also after retries.
            ChoreoError: the server refused or failed.
        """
        to = DanceTo(text, song, features, start, end, clip, rig, leader)
        flow = dancing.generate(self._at, to, fields, seed=seed, format=format, timeout_s=timeout_s, progress=progress)
        return self._transport.run(flow)

    def submit(
        self,
        requests: Sequence[JobRequest | Mapping[str, Any]] | None = None,
        *,
        catalog: str | PathLike[str] | None = None,
        songs: Mapping[str, Source] | None = None,
        webhook: str | None = None,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
        progress: Progress | None = None,
    ) -> "Job":
        """Have many dances made when there is time.

        Args:
            requests: see `JobRequest`.
            catalog: in place of requests, a file of JSON lines `{"custom_id": ..., "body": {...}}`, as `choreo batch`
                takes it; the songs that it names are uploaded with it.
            songs: files by the names that the catalog has for them; omitted: files in the folder of the catalog.
            webhook: address that the server tells the end of the job.
            idempotency_key: the same key and requests give the same job; None: drawn here, so that a submission whose
                answer was lost is not kept twice.
            timeout_s: seconds until the job must have been submitted.
            progress: see `generate`.

        Raises:
            InvalidInput: a request is wrong; the field begins with `requests[3]` or, for the third line, `catalog[3]`.
            Conflict: the key was used with other requests before.
            ChoreoError: see `generate`.
        """
        flow = jobs.submit(
            self._at, requests, catalog=catalog, songs=songs, webhook=webhook, idempotency_key=idempotency_key,
            timeout_s=timeout_s, progress=progress,
        )  # fmt: skip
        return Job(self._at, self._transport, self._transport.run(flow))

    def job(self, job_id: str) -> "Job":
        """A job that was submitted before, here or elsewhere.

        Raises:
            NotFound: there is none, or no longer.
            ChoreoError: the server cannot be asked.
        """
        return Job(self._at, self._transport, self._transport.run(jobs.status(self._at, job_id)))

    def jobs(self, state: str | None = None) -> "Iterator[Job]":
        """All jobs that the server has, the newest first; `state` (queued, succeeded, ...) chooses some.

        Raises:
            ChoreoError: the server cannot be asked.
        """
        cursor: str | None = None
        while True:
            page = self._transport.run(jobs.page(self._at, cursor, state))
            yield from (Job(self._at, self._transport, found) for found in page.jobs)
            if (cursor := page.next) is None:
                return

    def search(
        self,
        text: str | None = None,
        *,
        song: Source | None = None,
        features: Features | None = None,
        top_n: int = 10,
        timeout_s: float | None = None,
        **fields: Unpack[SearchFields],
    ) -> SearchResult:
        """Search the phrases that a dance would begin from.

        Args:
            text, song, features, timeout_s: see `generate`.
            top_n: most phrases to show.
            **fields: see `SearchFields`.

        Raises:
            ChoreoError: see `generate`.
        """
        to = DanceTo(text, song, features)
        return self._transport.run(dancing.search(self._at, to, fields, top_n=top_n, timeout_s=timeout_s))

    def models(self) -> tuple[Model, ...]:
        """The served models, the default one first.

        Raises:
            ChoreoError: the server cannot be asked.
        """
        return self._transport.run(dancing.models(self._at))

    def library(self) -> Library | None:
        """The phrase library in use; None where there is none.

        Raises:
            ChoreoError: the server cannot be asked.
        """
        return self._transport.run(dancing.library(self._at))

    def ready(self) -> bool:
        """Whether the server answers and all its stages do.

        Raises:
            ChoreoError: something else answers at the address.
        """
        return self._transport.run(dancing.ready(self._at))

    def version(self) -> Version:
        """Versions of the server.

        Raises:
            NotFound: it is older than this question.
            ChoreoError: it cannot be asked.
        """
        return self._transport.run(dancing.version(self._at))


class Job:
    """A job of a server; `Client.submit` and `Client.job` make it.

    Attributes:
        status: as it was when it was last looked at.
    """

    def __init__(self, at: Connection, transport: BlockingTransport, status: JobStatus) -> None:
        self._at, self._transport = at, transport
        self.status = status

    @property
    def id(self) -> str:
        """By which it is found again."""
        return self.status.id

    def refresh(self) -> JobStatus:
        """Look at the job.

        Raises:
            NotFound: it is not kept any more.
            ChoreoError: the server cannot be asked.
        """
        self.status = self._transport.run(jobs.status(self._at, self.id))
        return self.status

    def wait(self, progress: Watcher | None = None, timeout_s: float | None = None) -> JobStatus:
        """Wait for the end of the job. A server that restarts meanwhile is waited for.

        Args:
            progress: called with the job's status each time that it is looked at.
            timeout_s: longest time; None: none. A job that is not waited for any more goes on.

        Raises:
            DeadlineExceeded: it had not ended in time.
            ChoreoError: the server cannot be asked.
        """
        self.status = self._transport.run(jobs.wait(self._at, self.id, progress, timeout_s))
        return self.status

    def results(self) -> Iterator[JobResult]:
        """What became of every request, in their order; those that have not ended have neither files nor error.

        Raises:
            ChoreoError: the server cannot be asked.
        """
        offset = 0
        while offset < self.status.counts.total:
            found = self._transport.run(jobs.results(self._at, self.id, offset))
            yield from found
            offset += len(found)
            if not found:
                return

    def dance(self, result: JobResult) -> Dance:
        """The dance that a request left.

        Raises:
            ChoreoError: what the request ended in, or the server cannot be asked.
            NotFound: it has not ended, or its dance is not kept any more.
        """
        return self._transport.run(jobs.dance(self._at, self.id, result))

    def download(self, folder: str | PathLike[str], progress: Fetched | None = None) -> tuple[Path, ...]:
        """Fetch all files, and the results as `results.jsonl`; files that are there already are not fetched again.

        Args:
            folder: where they are written, each whole or not at all; it is made.
            progress: called with the requests that are done with, and all.

        Returns: paths of the files, without that of the results.

        Raises:
            InvalidInput: the folder cannot be made.
            ChoreoError: the server cannot be asked.
            OSError: the disk is full or not writable.
        """
        return self._transport.run(jobs.download(self._at, self.id, folder, progress))

    def cancel(self) -> JobStatus:
        """End the job; dances that are made stay, and one that has ended stays as it is.

        Raises:
            ChoreoError: the server cannot be asked.
        """
        self.status = self._transport.run(jobs.cancel(self._at, self.id))
        return self.status

    def forget(self) -> None:
        """Remove a job that has ended from the server, with its files.

        Raises:
            InvalidInput: it has not ended.
            ChoreoError: the server cannot be asked.
        """
        self._transport.run(jobs.forget(self._at, self.id))
