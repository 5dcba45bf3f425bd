"""What the database keeps of jobs, in SQLite and in PostgreSQL."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import Connection, update

from choreo.errors import InvalidArtifact, NotSaved
from serving.errors import Overloaded, StoreUnavailable
from serving.jobs.database import Database
from serving.jobs.leases import Leases
from serving.jobs.records import Deleted, ItemResult, Job, JobFigures, JobState
from serving.jobs.schema import ABOUT
from serving.jobs.store import JobStore, KeyTaken

Add = Callable[..., Job]
RESULT = ItemResult("000000.npz", "application/x-npz", 7, "0" * 64, {"seed": 0})


class _Held(Database):
    """A database whose next transaction has written everything, and waits before it is committed."""

    def __init__(self, database: Database) -> None:
        self._engine = database._engine
        self.written, self.go = Event(), Event()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with super().writing() as connection:
            yield connection
            self.written.set()
            assert self.go.wait(30)


def test_a_job_is_kept_whole(store: JobStore, add: Add) -> None:
    job = add(3, webhook_url="https://example.org/")
    assert store.get(job.id) == job
    assert (job.state, job.total, job.done, job.running) == (JobState.QUEUED, 3, 0, 0)
    items = store.results(job.id, 0, 10)
    assert [(item.position, item.state, item.result) for item in items] == [(i, "queued", None) for i in range(3)]
    assert store.results(job.id, 2, 10) == items[2:]
    assert store.results(job.id, 3, 10) == []


def test_pages_go_back_in_time_and_name_what_is_under_way(store: JobStore, leases: Leases, add: Add) -> None:
    jobs = [add() for _ in range(5)]
    names = [job.id for job in jobs]
    assert names == sorted(names)
    first = store.page(None, 2, None)
    assert [job.id for job in first] == [names[4], names[3]]
    assert [job.id for job in store.page(first[-1].id, 10, None)] == [names[2], names[1], names[0]]
    leases.claim(1)
    assert [(job.id, job.running) for job in store.page(None, 10, JobState.RUNNING)] == [(names[0], 1)]
    assert len(store.page(None, 10, JobState.QUEUED)) == 4


def test_one_key_is_one_job_however_many_submit_it_at_once(store: JobStore, add: Add) -> None:
    def submit(number: int) -> str:
        try:
            return add(key="the-key").id
        except KeyTaken:
            return ""

    with ThreadPoolExecutor(8) as pool:
        kept = [name for name in pool.map(submit, range(16)) if name]
    assert len(kept) == 1
    found = store.with_key("the-key")
    assert found is not None
    assert found.id == kept[0]
    assert len(store.page(None, 100, None)) == 1


def test_waiting_jobs_are_bounded(database: Database, add: Add) -> None:
    add()
    with pytest.raises(Overloaded):
        JobStore(database, max_waiting=1).check_space()
    JobStore(database, max_waiting=2).check_space()


def test_cancelled_jobs_have_ended_with_all_that_was_left(store: JobStore, leases: Leases, add: Add) -> None:
    job = add(3)
    first, _ = leases.claim(2)
    assert leases.fail((job.id, first.position), {"status": 500})
    cancelled = store.cancel(job.id)
    assert cancelled is not None
    assert (cancelled.state, cancelled.failed, cancelled.cancelled) == (JobState.CANCELLED, 1, 2)
    assert store.cancel(job.id) == cancelled
    assert store.cancel("job-000000000000-0000000000000000") is None
    assert leases.claim(10) == []


def test_only_ended_jobs_are_forgotten(store: JobStore, add: Add) -> None:
    job = add()
    assert not store.forget(job.id)
    store.cancel(job.id)
    assert store.ended_before(time.time() + 1, 10) == [job.id]
    assert store.bytes() == 10
    assert store.exist([job.id, "job-0"]) == {job.id}
    assert store.forget(job.id)
    assert (store.get(job.id), store.results(job.id, 0, 10), store.bytes()) == (None, [], 0)


def test_what_a_deletion_does_is_decided_when_it_is_done(
    open_database: Callable[[], Database], store: JobStore, leases: Leases, add: Add
) -> None:
    """The last request of a job ends in a transaction that is under way while the job is deleted."""
    job = add()
    (item,) = leases.claim(1)
    ending = _Held(open_database())
    with ThreadPoolExecutor(2) as pool:
        ended = pool.submit(Leases(ending, "machine/one", 1000, 2).succeed, (job.id, item.position), RESULT)
        assert ending.written.wait(30)
        seen = store.get(job.id)
        assert seen is not None
        assert not seen.ended  # whoever had looked now would have cancelled it
        deleted = pool.submit(store.delete, job.id, None, forget=False)
        ending.go.set()
        assert ended.result(30)
        kept = deleted.result(30)
    assert kept is not None
    assert kept.job is not None
    assert (kept.job.state, kept.job.succeeded, kept.job.cancelled) == (JobState.SUCCEEDED, 1, 0)
    assert store.delete(job.id, None, forget=True) == Deleted(None)
    assert store.delete(job.id, None, forget=True) is None


def test_a_request_that_ends_after_its_job_was_cancelled_counts_as_cancelled(
    open_database: Callable[[], Database], store: JobStore, leases: Leases, add: Add
) -> None:
    job = add()
    (item,) = leases.claim(1)
    cancelling = _Held(open_database())
    with ThreadPoolExecutor(2) as pool:
        cancelled = pool.submit(JobStore(cancelling, 100).delete, job.id, None, forget=True)
        assert cancelling.written.wait(30)
        late = pool.submit(leases.succeed, (job.id, item.position), RESULT)
        cancelling.go.set()
        assert not late.result(30)
        found = cancelled.result(30)
    assert found is not None
    assert found.job is not None
    assert (found.job.state, found.job.cancelled) == (JobState.CANCELLED, 1)
    assert store.get(job.id) == found.job


def test_jobs_belong_to_the_key_that_submitted_them(store: JobStore, leases: Leases, add: Add) -> None:
    anna, ben, nobody = (add(api_key=name, key="order-1") for name in ("anna", "ben", None))
    assert [job.id for job in store.page(None, 10, None, "anna")] == [anna.id]
    assert len(store.page(None, 10, None)) == 3
    for key, job in (("anna", anna), ("ben", ben), (None, nobody)):
        found = store.with_key("order-1", key)
        assert found is not None
        assert found.id == job.id
    assert store.get(anna.id, "anna") == anna
    for job in (anna, nobody):
        assert store.get(job.id, "ben") is None
        assert store.delete(job.id, "ben", forget=True) is None
    with pytest.raises(KeyTaken):
        add(api_key="anna", key="order-1")
    deleted = store.delete(anna.id, "anna", forget=True)
    assert deleted is not None
    assert store.delete(anna.id, "ben", forget=True) is None
    assert store.delete(anna.id, "anna", forget=True) == Deleted(None)
    assert {item.job_id for item in leases.claim(9)} == {ben.id, nobody.id}


def test_figures_count_jobs_and_what_waits(store: JobStore, leases: Leases, add: Add) -> None:
    assert store.figures() == JobFigures({}, 0, 0, None)
    first, second, third = add(2), add(3), add()
    for item in leases.claim(3):
        assert leases.succeed((item.job_id, item.position), RESULT)
    store.cancel(third.id)
    leases.claim(1)
    figures = store.figures()
    assert figures.jobs == {JobState.SUCCEEDED: 1, JobState.RUNNING: 1, JobState.CANCELLED: 1}
    assert (figures.waiting, figures.running) == (1, 1)
    assert figures.oldest_waiting == pytest.approx(second.created_at)
    assert first.created_at <= second.created_at
    leases.claim(1)
    assert store.figures().oldest_waiting is None


def test_two_servers_open_one_database(open_database: Callable[[], Database]) -> None:
    with ThreadPoolExecutor(4) as pool:
        databases = list(pool.map(lambda _: open_database(), range(4)))
    assert len({id(database) for database in databases}) == 4
    assert JobStore(databases[3], 10).page(None, 10, None) == []


def test_a_database_of_another_version_is_refused(open_database: Callable[[], Database]) -> None:
    with open_database().writing() as connection:
        connection.execute(update(ABOUT).values(version=99))
    with pytest.raises(InvalidArtifact, match="version 99"):
        open_database()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="folder of jobs"):
        Database(tmp_path / "file" / "jobs.sqlite")


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        Database(tmp_path / "jobs.sqlite", "postgresql://nobody@127.0.0.1:9/none")


def test_a_full_disk_keeps_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "jobs.sqlite")
    try:
        with database.reading() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

        def fill() -> None:
            with database.writing() as connection:
                connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 2}")
                connection.execute(ABOUT.insert(), [{"version": i} for i in range(10, 20_000)])

        with pytest.raises(NotSaved, match="disk"):
            fill()
        with database.reading() as connection:
            assert len(connection.execute(ABOUT.select()).all()) == 1
    finally:
        database.close()
