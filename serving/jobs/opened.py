"""Jobs that are open: database, spool, and what works in the background."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from choreo.errors import ChoreoError
from serving.jobs.database import Database
from serving.jobs.delivery import Outcome, Post
from serving.jobs.leases import Leases, owner_name
from serving.jobs.outbox import Outbox
from serving.jobs.records import Deleted, Job
from serving.jobs.retention import Retention
from serving.jobs.runner import Runner, Work
from serving.jobs.spool import FILES, INPUT, Spool, address_of
from serving.jobs.store import JobStore, KeyTaken, Submission, new_id
from serving.jobs.submission import CheckedJob, Hold, KeyConflict
from serving.jobs.webhooks import WebhookSender
from serving.pipeline.admission import Admission
from serving.pipeline.runs import RunService
from serving.settings import Settings
from serving.util import tracing
from serving.util.threads import Threads

log = logging.getLogger(__name__)

SWEEP_S: Final = 60.0
"""Time between looks for jobs that are to be forgotten."""


@dataclass
class OpenJobs:
    """What is there once jobs are open."""

    database: Database
    store: JobStore
    spool: Spool
    retention: Retention
    runner: Runner
    sender: WebhookSender
    threads: Threads
    sweeping: "asyncio.Task[None] | None" = field(default=None, init=False)

    def start(self) -> None:
        """Begin to work, in the running event loop."""
        self.runner.start()
        self.sender.start()
        self.sweeping = asyncio.create_task(self._sweep())

    async def drain(self, seconds: float) -> None:
        """End what is under way within the time, put back the rest, and stop."""
        await self.runner.drain(seconds)
        await self.sender.stop()
        if self.sweeping is not None:
            self.sweeping.cancel()
            await asyncio.gather(self.sweeping, return_exceptions=True)

    def keep(self, job: CheckedJob, hold: Hold) -> tuple[Job, bool]:
        """Keep a job, or find the one of its idempotency key; and whether it is new. Blocking.

        Args:
            hold: makes what is entered while a new job is kept, with the seconds of motion that it asks for.

        Raises:
            KeyConflict: the key was used with another body.
            Overloaded: too many jobs wait, or `hold` refuses it.
            NotSaved: there is no room for its songs; nothing of it is left.
            StoreUnavailable: database or spool cannot be used.
        """
        if (before := self._same(job)) is not None:
            return before, False
        self.store.check_space()
        try:
            with hold(job.seconds):
                return self._added(job), True
        except KeyTaken:
            if (before := self._same(job)) is None:
                raise
            return before, False

    def _added(self, job: CheckedJob) -> Job:
        self.retention.make_room(job.bytes)
        job_id = new_id()
        try:
            for name, data in job.data.items():
                self.spool.write(job_id, INPUT, name, data)
            origin, _ = tracing.carrier()
            kept = Submission(job_id, job.rows, job.bytes, job.body_hash, job.webhook_url, job.key, job.api_key, origin)
            return self.store.add(kept)
        except BaseException:
            self.spool.forget(job_id)
            raise

    def contents(self, job_id: str, name: str) -> Path | bytes:
        """A result: its path on this machine, or its bytes. Blocking.

        Raises:
            FileNotFoundError: it is not there any more.
            StoreUnavailable: it cannot be read.
        """
        path = self.spool.local_path(job_id, FILES, name)
        if path is None:
            return self.spool.read(job_id, FILES, name)
        if not path.is_file():
            raise FileNotFoundError(name)
        return path

    def _same(self, job: CheckedJob) -> Job | None:
        """The job that was submitted with the same key, if there is one."""
        before = None if job.key is None else self.store.with_key(job.key, job.api_key)
        if before is not None and before.body_hash != job.body_hash:
            raise KeyConflict
        return before

    def delete(self, job_id: str, api_key: str | None, forget: bool) -> Deleted | None:
        """End a job, or forget one that has ended, with its files; see `JobStore.delete`. Blocking."""
        deleted = self.store.delete(job_id, api_key, forget)
        if deleted is not None and deleted.job is None:
            self.spool.forget(job_id)
        return deleted

    async def _sweep(self) -> None:
        while True:
            try:
                await self.threads.run(self.retention.sweep)
            except ChoreoError as error:
                log.warning("old jobs were not forgotten: %s", error)
            except Exception:
                log.exception("old jobs were not forgotten")
            await asyncio.sleep(SWEEP_S)


def open_jobs(
    settings: Settings,
    admission: Admission,
    runs: RunService,
    work: Work,
    post: Post,
    threads: Threads,
    count: Callable[[Outcome], None],
) -> OpenJobs:
    """Open database and spool; nothing is worked on yet. Blocking.

    Raises:
        StoreUnavailable, NotSaved, MissingDependency, InvalidArtifact: they cannot be used.
    """
    database = Database(settings.jobs_database, settings.jobs_url)
    try:
        spool = Spool(address_of(settings.data_dir, settings.jobs_spool))
    except BaseException:
        database.close()
        raise
    store = JobStore(database, settings.max_waiting_jobs)
    retention = Retention(store, spool, settings.job_retention_s, settings.max_jobs_bytes)
    leases = Leases(database, owner_name(), settings.job_lease_s, settings.job_attempts)
    runner = Runner(leases, spool, admission, runs, work, settings, threads)
    sender = WebhookSender(Outbox(database), post, settings, threads, count)
    return OpenJobs(database, store, spool, retention, runner, sender, threads)
