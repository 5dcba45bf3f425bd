"""Jobs in the database, as their callers see them: submitted, read, cancelled, forgotten. Every method blocks."""

import hashlib
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, true, update
from sqlalchemy.exc import IntegrityError

from serving.errors import Overloaded
from serving.jobs.database import Database
from serving.jobs.outbox import announce
from serving.jobs.records import (
    ENDED,
    OPEN,
    Deleted,
    Item,
    ItemResult,
    Job,
    JobFigures,
    JobState,
    WebhookState,
)
from serving.jobs.schema import ITEMS, JOBS, TRACES, WEBHOOKS

RETRY_S: Final = 30
"""What a caller is told to wait who finds as many jobs waiting as may."""
_ROWS: Final = 500
"""Rows that are written by one statement."""


@dataclass(frozen=True)
class Submission:
    """A job ready to be kept.

    Attributes:
        items: rows of the table of items, without the job's id.
        bytes: of its parts, which are in the spool already.
        key: idempotency key, which is one within an API key.
        api_key: name of the API key that it belongs to; None: keys are off.
        origin: `traceparent` of the trace that it is submitted in, or empty.
    """

    id: str
    items: Sequence[Mapping[str, Any]]
    bytes: int
    body_hash: str
    webhook_url: str | None
    key: str | None
    api_key: str | None = None
    origin: str = ""


class KeyTaken(Exception):
    """Another job has the same idempotency key."""


def new_id() -> str:
    """A name for a job; names sort by the time at which they were made."""
    return f"job-{int(time.time() * 1000):012x}-{secrets.token_hex(8)}"


class JobStore:
    """Jobs and their requests.

    Where `api_key` is given, jobs that do not belong to the API key of this name are not there.

    Args:
        database: where they are kept.
        max_waiting: jobs that may be open at a time.
    """

    def __init__(self, database: Database, max_waiting: int) -> None:
        self._database, self._max_waiting = database, max_waiting

    def check_space(self) -> None:
        """Raise `Overloaded` where no further job would be taken."""
        with self._database.reading() as connection:
            self._check_space(connection)

    def add(self, job: Submission) -> Job:
        """Keep a job, whole or not at all.

        Raises:
            KeyTaken: there is one with its idempotency key.
            Overloaded: too many jobs wait.
            NotSaved, StoreUnavailable: from the database.
        """
        now = time.time()
        values = {
            "id": job.id, "state": JobState.QUEUED, "total": len(job.items), "bytes": job.bytes, "created_at": now,
            "idempotency_key": _kept_key(job.key, job.api_key), "api_key": job.api_key, "body_hash": job.body_hash,
            "webhook_url": job.webhook_url,
        }  # fmt: skip
        with self._database.writing() as connection:
            self._check_space(connection)
            try:
                with connection.begin_nested():
                    connection.execute(insert(JOBS).values(values))
            except IntegrityError as error:
                raise KeyTaken from error
            if job.origin:
                connection.execute(insert(TRACES).values(job_id=job.id, traceparent=job.origin))
            for start in range(0, len(job.items), _ROWS):
                rows = job.items[start : start + _ROWS]
                about = {"job_id": job.id, "state": JobState.QUEUED}
                connection.execute(insert(ITEMS), [about | dict(row) for row in rows])
            return read_job(connection, job.id)

    def with_key(self, key: str, api_key: str | None = None) -> Job | None:
        """The job of an idempotency key."""
        kept = _kept_key(key, api_key)
        with self._database.reading() as connection:
            row = connection.execute(select(JOBS).where(JOBS.c.idempotency_key == kept)).one_or_none()
            return None if row is None else _job(row)

    def get(self, job_id: str, api_key: str | None = None) -> Job | None:
        """A job, with what is under way of it and how its webhook stands."""
        with self._database.reading() as connection:
            return _one_or_none(connection, job_id, api_key)

    def page(self, before: str | None, limit: int, state: JobState | None, api_key: str | None = None) -> list[Job]:
        """Jobs, the newest first, from the one after `before` on."""
        wanted = select(JOBS).where(_of(api_key)).order_by(JOBS.c.id.desc()).limit(limit)
        if before is not None:
            wanted = wanted.where(JOBS.c.id < before)
        if state is not None:
            wanted = wanted.where(JOBS.c.state == state)
        with self._database.reading() as connection:
            rows = connection.execute(wanted).all()
            busy = _running(connection, [row.id for row in rows])
        return [_job(row, running=busy.get(row.id, 0)) for row in rows]

    def results(self, job_id: str, offset: int, limit: int) -> list[Item]:
        """Requests of a job in their order, as far as they have got, from position `offset` on."""
        columns = (ITEMS.c[name] for name in ("job_id", "position", "custom_id", "state", "result", "error"))
        wanted = (
            select(*columns)
            .where(ITEMS.c.job_id == job_id, ITEMS.c.position >= offset, ITEMS.c.position < offset + limit)
            .order_by(ITEMS.c.position)
        )
        with self._database.reading() as connection:
            return [item_of(row) for row in connection.execute(wanted)]

    def item(self, job_id: str, position: int) -> Item | None:
        """One request of a job."""
        found = self.results(job_id, position, 1)
        return found[0] if found else None

    def cancel(self, job_id: str) -> Job | None:
        """End a job that has not ended, with all requests of it that have not; the job, or None if there is none."""
        deleted = self.delete(job_id, None, forget=False)
        return None if deleted is None else deleted.job

    def delete(self, job_id: str, api_key: str | None, forget: bool) -> Deleted | None:
        """Cancel a job that has not ended, with all requests of it that have not; forget one that has.

        Which of both is decided in one transaction: nothing can end the job in between.

        Args:
            forget: whether a job that has ended is removed; otherwise it stays as it is.

        Returns: None if there is no such job.
        """
        with self._database.writing() as connection:
            if _cancelled(connection, job_id, api_key) or not forget:
                job = _one_or_none(connection, job_id, api_key)
                return None if job is None else Deleted(job)
            # Its end is final, so that it cannot be another job by now.
            return Deleted(None) if _removed(connection, job_id, api_key) else None

    def forget(self, job_id: str) -> bool:
        """Remove a job that has ended; whether it was there."""
        with self._database.writing() as connection:
            return _removed(connection, job_id)

    def figures(self) -> JobFigures:
        """How many jobs there are, and what of them waits; requests that have ended are not read for it."""
        by_state = select(JOBS.c.state, func.count()).group_by(JOBS.c.state)
        done = JOBS.c.succeeded + JOBS.c.failed + JOBS.c.cancelled
        left = select(func.coalesce(func.sum(JOBS.c.total - done), 0)).where(JOBS.c.state.in_(OPEN))
        busy = select(func.count()).select_from(ITEMS).where(ITEMS.c.state == JobState.RUNNING)
        first = select(func.min(ITEMS.c.job_id)).where(ITEMS.c.state == JobState.QUEUED).scalar_subquery()
        with self._database.reading() as connection:
            jobs = {JobState(row[0]): int(row[1]) for row in connection.execute(by_state)}
            unfinished = int(connection.execute(left).scalar_one())
            running = int(connection.execute(busy).scalar_one())
            oldest = connection.execute(select(JOBS.c.created_at).where(JOBS.c.id == first)).scalar_one_or_none()
        return JobFigures(jobs, max(unfinished - running, 0), running, oldest)

    def ended_before(self, when: float, limit: int) -> list[str]:
        """Ids of jobs that ended before a time, the first ones first."""
        wanted = select(JOBS.c.id).where(JOBS.c.ended_at < when).order_by(JOBS.c.ended_at).limit(limit)
        with self._database.reading() as connection:
            return list(connection.execute(wanted).scalars())

    def bytes(self) -> int:
        """Of songs and results of all jobs."""
        with self._database.reading() as connection:
            return int(connection.execute(select(func.coalesce(func.sum(JOBS.c.bytes), 0))).scalar_one())

    def exist(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that jobs have."""
        known: set[str] = set()
        with self._database.reading() as connection:
            for start in range(0, len(ids), _ROWS):
                wanted = select(JOBS.c.id).where(JOBS.c.id.in_(ids[start : start + _ROWS]))
                known.update(connection.execute(wanted).scalars())
        return known

    def _check_space(self, connection: Connection) -> None:
        waiting = connection.execute(select(func.count()).select_from(JOBS).where(JOBS.c.state.in_(OPEN))).scalar_one()
        if waiting >= self._max_waiting:
            raise Overloaded(RETRY_S, "as many jobs wait as may", "max_waiting_jobs")


def item_of(row: Row[Any]) -> Item:
    """A row of the table of items."""
    values = dict(row._mapping)
    result = values.pop("result", None)
    return Item(**values | {"state": JobState(values["state"]), "result": result and ItemResult(**result)})


def read_job(connection: Connection, job_id: str) -> Job:
    """A job that is there."""
    found = _one_or_none(connection, job_id)
    assert found is not None
    return found


def _of(api_key: str | None) -> ColumnElement[bool]:
    """Whether a job belongs to an API key; all do where none is given."""
    return true() if api_key is None else JOBS.c.api_key == api_key


def _kept_key(key: str | None, api_key: str | None) -> str | None:
    """An idempotency key as it is kept: one of another API key is another one.

    A slash begins what no caller can give, and the digest keeps it within the column.
    """
    if key is None or api_key is None:
        return key
    return "/" + hashlib.sha256(f"{api_key}\0{key}".encode()).hexdigest()


def _cancelled(connection: Connection, job_id: str, api_key: str | None) -> bool:
    """End a job that has not ended, with all requests of it that have not; whether there was one."""
    now = time.time()
    # The job first, as whoever ends a request of it does, so that two of them never wait for each other.
    changed = connection.execute(
        update(JOBS)
        .where(JOBS.c.id == job_id, JOBS.c.state.in_(OPEN), _of(api_key))
        .values(state=JobState.CANCELLED, ended_at=now)
    )
    if not changed.rowcount:
        return False
    left = connection.execute(
        update(ITEMS)
        .where(ITEMS.c.job_id == job_id, ITEMS.c.state.in_(OPEN))
        .values(state=JobState.CANCELLED, owner=None, lease_until=None)
    )
    connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(cancelled=left.rowcount))
    announce(connection, read_job(connection, job_id), now)
    return True


def _removed(connection: Connection, job_id: str, api_key: str | None = None) -> bool:
    """Remove a job that has ended; whether there was one."""
    gone = connection.execute(delete(JOBS).where(JOBS.c.id == job_id, JOBS.c.state.in_(ENDED), _of(api_key)))
    return bool(gone.rowcount)


def _one_or_none(connection: Connection, job_id: str, api_key: str | None = None) -> Job | None:
    row = connection.execute(select(JOBS).where(JOBS.c.id == job_id, _of(api_key))).one_or_none()
    if row is None:
        return None
    hook = connection.execute(
        select(WEBHOOKS.c.state, WEBHOOKS.c.attempts, WEBHOOKS.c.error).where(WEBHOOKS.c.job_id == job_id)
    ).one_or_none()
    webhook = None if hook is None else WebhookState(hook.state, hook.attempts, hook.error)
    return _job(row, _running(connection, [job_id]).get(job_id, 0), webhook)


def _running(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    """Requests that are worked on, by job."""
    wanted = (
        select(ITEMS.c.job_id, func.count())
        .where(ITEMS.c.state == JobState.RUNNING, ITEMS.c.job_id.in_(ids))
        .group_by(ITEMS.c.job_id)
    )
    return {row[0]: row[1] for row in connection.execute(wanted)}


def _job(row: Row[Any], running: int = 0, webhook: WebhookState | None = None) -> Job:
    values = {name: value for name, value in row._mapping.items() if name != "idempotency_key"}
    return Job(**values | {"state": JobState(row.state)}, running=running, webhook=webhook)
