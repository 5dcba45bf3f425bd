"""Jobs of one server: opened when the first one is asked for, worked on in the background, put away at the end."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextvars import Context
from pathlib import Path
from typing import TYPE_CHECKING, Final

from choreo.errors import BackendUnavailable, ChoreoError
from serving.errors import ShuttingDown
from serving.jobs.delivery import Outcome, Post
from serving.jobs.records import Deleted, Item, Job, JobFigures, JobState, NewJob
from serving.jobs.runner import Work
from serving.jobs.submission import Hold, check, unlimited
from serving.pipeline.admission import Admission
from serving.pipeline.runs import RunService
from serving.settings import Settings
from serving.util.threads import Threads

if TYPE_CHECKING:
    from serving.jobs.opened import OpenJobs

log = logging.getLogger(__name__)

RETRY_S: Final = 10.0
"""Time until a database that could not be opened is tried again."""
READERS: Final = 4
"""Threads for callers."""
WORKERS: Final = 8
"""Threads for the requests of jobs."""

Models = Callable[[], Awaitable[Collection[str]]]
"""Names of the served models."""


class Jobs:
    """Submits, reads, cancels and works on jobs.

    Nothing is written before the first job: a server that is asked for none leaves no trace.

    Args:
        settings: limits and places.
        admission, runs: of the server, whose idle turns are used.
        work: how one request is danced.
        models: names of the served models.
        post: delivers a webhook.

    Attributes:
        deliveries: of webhooks, that this server tried, by their outcome.
    """

    def __init__(
        self,
        settings: Settings,
        admission: Admission,
        runs: RunService,
        work: Work,
        models: Models,
        post: Post,
    ) -> None:
        self._settings, self._admission, self._runs = settings, admission, runs
        self._work, self._models, self._post = work, models, post
        self._callers, self._workers = Threads(READERS), Threads(WORKERS)
        self._opening: asyncio.Task[OpenJobs] | None = None
        self._resuming: asyncio.Task[None] | None = None
        self._closed = False
        self.deliveries: Counter[Outcome] = Counter()

    def start(self) -> None:
        """Go on with the jobs that are there, in the running event loop; without any, do nothing."""
        if self._exist() and self._opening is None:
            self._resuming = asyncio.create_task(self._resume())

    async def submit(self, job: NewJob, hold: Hold = unlimited) -> tuple[Job, bool]:
        """Keep a job, or find the one of its idempotency key; and whether it is new.

        Args:
            hold: see `OpenJobs.keep`.

        Raises:
            InvalidInput: a request is wrong.
            KeyConflict: the key was used with another body.
            Overloaded, NotSaved, StoreUnavailable, ShuttingDown: it cannot be kept now.
        """
        if self._closed:
            raise ShuttingDown
        models = await self._known_models() if any("model" in item.fields for item in job.items) else None
        checked = await self._callers.run(check, job, self._work.prepare, models)
        opened = await self._open()
        kept, new = await self._callers.run(opened.keep, checked, hold)
        opened.runner.wake()
        return kept, new

    async def check_space(self) -> None:
        """Raise `Overloaded` where no job would be taken, so that a body need not be read in vain."""
        if self._closed:
            raise ShuttingDown
        if (opened := await self._opened()) is not None:
            await self._callers.run(opened.store.check_space)

    async def get(self, job_id: str, api_key: str | None = None) -> Job | None:
        """A job; one of another API key than that of this name, if one is given, is not there."""
        opened = await self._opened()
        return None if opened is None else await self._callers.run(opened.store.get, job_id, api_key)

    async def page(
        self, before: str | None, limit: int, state: JobState | None, api_key: str | None = None
    ) -> list[Job]:
        """Jobs, the newest first, from the one after `before` on; those of an API key, if one is given."""
        opened = await self._opened()
        return [] if opened is None else await self._callers.run(opened.store.page, before, limit, state, api_key)

    async def results(self, job_id: str, offset: int, limit: int) -> list[Item]:
        """Requests of a job in their order."""
        opened = await self._opened()
        return [] if opened is None else await self._callers.run(opened.store.results, job_id, offset, limit)

    async def file(self, job_id: str, position: int, name: str) -> tuple[Item, Path | bytes] | None:
        """A result: its request, and its path on this machine or its bytes; None if there is none of that name."""
        opened = await self._opened()
        if opened is None:
            return None
        item = await self._callers.run(opened.store.item, job_id, position)
        if item is None or item.result is None or item.result.name != name:
            return None
        try:
            return item, await self._callers.run(opened.contents, job_id, name)
        except FileNotFoundError:
            return None

    async def delete(self, job_id: str, api_key: str | None, forget: bool) -> Deleted | None:
        """End a job; forget one that has ended, with its files, if that is wanted. None if there is no such job."""
        opened = await self._opened()
        if opened is None:
            return None
        deleted = await self._callers.run(opened.delete, job_id, api_key, forget)
        if deleted is not None:
            opened.runner.drop(job_id)
        return deleted

    async def drain(self, seconds: float) -> None:
        """Take no more, end what is under way within the time, and put back the rest; what is there can be read."""
        self._closed = True
        if self._resuming is not None:
            self._resuming.cancel()
        if (opened := await self._there()) is None:
            return
        await opened.drain(seconds)

    async def close(self) -> None:
        """Drain without waiting, and close the database."""
        await self.drain(0)
        if (opened := await self._there()) is not None:
            opened.database.close()
        self._callers.close()
        self._workers.close()

    async def figures(self) -> JobFigures:
        """How many jobs there are, and what of them waits.

        Raises:
            StoreUnavailable: the database cannot be used now.
        """
        opened = await self._opened()
        return JobFigures({}, 0, 0, None) if opened is None else await self._callers.run(opened.store.figures)

    def _count(self, outcome: Outcome) -> None:
        self.deliveries[outcome] += 1

    async def _there(self) -> "OpenJobs | None":
        """What is open, or is just being opened."""
        if self._opening is None:
            return None
        try:
            return await self._opening
        except ChoreoError:
            return None

    def _exist(self) -> bool:
        return bool(self._settings.jobs_url) or self._settings.jobs_database.is_file()

    async def _opened(self) -> "OpenJobs | None":
        """What is there, if there ever was a job."""
        if self._opening is None and (self._closed or not self._exist()):
            return None
        return await self._open()

    async def _open(self) -> "OpenJobs":
        """Open what is not open, once for all who ask; after a failure the next one tries again."""
        if self._opening is None:
            if self._closed:
                raise ShuttingDown
            # What works in the background from then on is not in the context of the request that came first.
            self._opening = asyncio.create_task(self._made(), context=Context())
        opening = self._opening
        try:
            return await asyncio.shield(opening)
        except Exception:
            if self._opening is opening:
                self._opening = None
            raise

    async def _made(self) -> "OpenJobs":
        def open_all() -> "OpenJobs":
            from serving.jobs.opened import open_jobs  # SQL is imported when the first job is submitted

            return open_jobs(
                self._settings, self._admission, self._runs, self._work, self._post, self._workers, self._count
            )

        opened = await self._callers.run(open_all)
        opened.start()
        return opened

    async def _resume(self) -> None:
        """Open, however long the database takes to come."""
        while not self._closed:
            try:
                await self._open()
                return
            except ChoreoError as error:
                log.warning("jobs wait: %s", error)
            await asyncio.sleep(RETRY_S)

    async def _known_models(self) -> Collection[str] | None:
        """Names of the served models; None while nobody can say, because jobs can wait until then."""
        try:
            return await self._models()
        except BackendUnavailable:
            return None
