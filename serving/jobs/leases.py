"""Requests of jobs as those see them who work on them: taken under a lease, ended, or put back. Every method blocks."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, or_, select, tuple_, update

from serving.jobs.database import Database
from serving.jobs.outbox import announce
from serving.jobs.records import OPEN, Item, ItemResult, JobState, Key
from serving.jobs.schema import ITEMS, JOBS, TRACES
from serving.jobs.store import item_of, read_job
from serving.util import tracing
from serving.util.ownership import is_dead, owner_prefix

_CLAIMED: Final = ("job_id", "position", "custom_id", "state", "fields", "parts", "attempts")
_REMEMBERED: Final = 10_000


def owner_name() -> str:
    """A name of this process that others can look up: its machine since it was started, and the process on it."""
    return f"{_boot_id()}/{owner_prefix()}"


class Leases:
    """Who works on which request.

    Args:
        database: where that is kept.
        owner: name of this process.
        lease_s: seconds without a sign of life after which others may take its requests.
        attempts: how often a request is tried.
    """

    def __init__(self, database: Database, owner: str, lease_s: float, attempts: int) -> None:
        self._database, self._owner, self._lease_s, self._attempts = database, owner, lease_s, attempts
        self._started: set[str] = set()

    def claim(self, limit: int) -> list[Item]:
        """Up to so many requests to work on from now on, those of the oldest jobs first."""
        now = time.time()
        free = (
            select(ITEMS.c.job_id, ITEMS.c.position)
            .where(ITEMS.c.state == JobState.QUEUED, ITEMS.c.not_before <= now)
            .order_by(ITEMS.c.job_id, ITEMS.c.position)
            .limit(limit)
            .with_for_update(skip_locked=True)  # PostgreSQL; SQLite has one writer at a time
        )
        origins: dict[str, str] = {}
        with self._database.writing() as connection:
            keys = [(row.job_id, row.position) for row in connection.execute(free)]
            if not keys:
                return []
            taken = connection.execute(
                update(ITEMS)
                .where(_these(keys), ITEMS.c.state == JobState.QUEUED)
                .values(
                    state=JobState.RUNNING,
                    owner=self._owner,
                    lease_until=now + self._lease_s,
                    attempts=ITEMS.c.attempts + 1,
                )
                .returning(*(ITEMS.c[name] for name in _CLAIMED))
            ).all()
            ids = {row.job_id for row in taken}
            if tracing.is_on():
                known = connection.execute(select(TRACES).where(TRACES.c.job_id.in_(ids)))
                origins = {row.job_id: row.traceparent for row in known}
            owned = select(JOBS.c.id, JOBS.c.api_key).where(JOBS.c.id.in_(ids), JOBS.c.api_key.is_not(None))
            api_keys = {row.id: row.api_key for row in connection.execute(owned)}
        self._start(ids - self._started, time.time())  # not earlier than the job was submitted
        items = [
            replace(item_of(row), origin=origins.get(row.job_id, ""), api_key=api_keys.get(row.job_id)) for row in taken
        ]
        return sorted(items, key=lambda item: (item.job_id, item.position))

    def heartbeat(self, keys: Sequence[Key]) -> set[Key]:
        """Keep leases; those that this process has lost, because others took or cancelled the request."""
        if not keys:
            return set()
        with self._database.writing() as connection:
            kept = connection.execute(
                update(ITEMS)
                .where(_these(keys), self._mine())
                .values(lease_until=time.time() + self._lease_s)
                .returning(ITEMS.c.job_id, ITEMS.c.position)
            )
            return set(keys) - {(row.job_id, row.position) for row in kept}

    def succeed(self, key: Key, result: ItemResult) -> bool:
        """End a request whose file is kept; False where it was taken or cancelled meanwhile."""
        return self._end(key, {"state": JobState.SUCCEEDED, "result": asdict(result)}, result.bytes)

    def fail(self, key: Key, problem: Mapping[str, Any]) -> bool:
        """End a request in a problem document; False as in `succeed`."""
        return self._end(key, {"state": JobState.FAILED, "error": dict(problem)}, 0)

    def put_back(self, keys: Iterable[Key], delay_s: float = 0.0, uncounted: bool = False) -> None:
        """Queue requests again.

        Args:
            delay_s: time until they may be taken again.
            uncounted: whether the attempt does not count, as where a server was told to stop.
        """
        keys = list(keys)
        if not keys:
            return
        values: dict[str, Any] = {
            "state": JobState.QUEUED,
            "owner": None,
            "lease_until": None,
            "not_before": time.time() + delay_s,
        }
        if uncounted:
            values["attempts"] = ITEMS.c.attempts - 1
        with self._database.writing() as connection:
            connection.execute(update(ITEMS).where(_these(keys), self._mine()).values(values))

    def take_over(self, problem: Mapping[str, Any]) -> int:
        """Queue the requests of servers that are gone; how many.

        Args:
            problem: what a request ends in that has taken as many servers with it as it may.
        """
        now, here = time.time(), _boot_id()
        running = ITEMS.c.state == JobState.RUNNING
        with self._database.reading() as connection:
            owners = connection.execute(select(ITEMS.c.owner).where(running).distinct()).scalars().all()
        dead = [owner for owner in owners if owner and _is_dead(owner, here)]
        gone = and_(running, or_(ITEMS.c.owner.in_(dead), ITEMS.c.lease_until < now))
        with self._database.reading() as connection:
            lost = connection.execute(select(ITEMS.c.job_id, ITEMS.c.position, ITEMS.c.attempts).where(gone)).all()
        for row in lost:
            if row.attempts >= self._attempts:
                self._end((row.job_id, row.position), {"state": JobState.FAILED, "error": dict(problem)}, 0, gone)
        with self._database.writing() as connection:
            back = update(ITEMS).where(gone, ITEMS.c.attempts < self._attempts)
            freed = connection.execute(back.values(state=JobState.QUEUED, owner=None, lease_until=None))
        return int(freed.rowcount)

    def work_left(self) -> bool:
        """Whether any request of any job has not ended."""
        with self._database.reading() as connection:
            return connection.execute(select(JOBS.c.id).where(JOBS.c.state.in_(OPEN)).limit(1)).first() is not None

    def _start(self, ids: set[str], now: float) -> None:
        """Say of jobs that they are under way.

        In a transaction of its own: who holds requests and waits for their job could wait for one who cancels it.
        """
        if not ids:
            return
        with self._database.writing() as connection:
            connection.execute(
                update(JOBS)
                .where(JOBS.c.id.in_(ids), JOBS.c.state == JobState.QUEUED)
                .values(state=JobState.RUNNING, started_at=now)
            )
        if len(self._started) > _REMEMBERED:
            self._started.clear()
        self._started |= ids

    def _mine(self) -> ColumnElement[bool]:
        return and_(ITEMS.c.state == JobState.RUNNING, ITEMS.c.owner == self._owner)

    def _end(self, key: Key, values: dict[str, Any], size: int, condition: ColumnElement[bool] | None = None) -> bool:
        """End a request and count it, and end its job with the last one."""
        job_id, position = key
        counter = JOBS.c[str(values["state"])]
        with self._database.writing() as connection:
            # The job first: see `JobStore.cancel`.
            held = select(JOBS.c.id).where(JOBS.c.id == job_id, JOBS.c.state.in_(OPEN)).with_for_update()
            if connection.execute(held).first() is None:
                return False
            ended = connection.execute(
                update(ITEMS)
                .where(ITEMS.c.job_id == job_id, ITEMS.c.position == position)
                .where(self._mine() if condition is None else condition)
                .values(owner=None, lease_until=None, **values)
            )
            if not ended.rowcount:
                return False
            connection.execute(
                update(JOBS)
                .where(JOBS.c.id == job_id)
                .values({counter.name: counter + 1, "bytes": JOBS.c.bytes + size})
            )
            _end_job(connection, job_id)
        return True


def _end_job(connection: Connection, job_id: str) -> None:
    """End a job all of whose requests have ended: it has failed where every one of them has."""
    now = time.time()
    job = read_job(connection, job_id)
    if job.done < job.total:
        return
    state = JobState.SUCCEEDED if job.succeeded else JobState.FAILED
    connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(state=state, ended_at=now))
    announce(connection, read_job(connection, job_id), now)


def _these(keys: Sequence[Key]) -> ColumnElement[bool]:
    return tuple_(ITEMS.c.job_id, ITEMS.c.position).in_(keys)


def _boot_id() -> str:
    """Of this machine since it was started."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def _is_dead(owner: str, here: str) -> bool:
    machine, _, process = owner.partition("/")
    return machine == here != "unknown" and is_dead(process)
