"""What is forgotten, and what is not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from choreo.errors import NotSaved
from serving.jobs.records import Job
from serving.jobs.retention import Retention
from serving.jobs.spool import FILES, Spool
from serving.jobs.store import JobStore, new_id


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(str(tmp_path / "spool"))


@pytest.fixture
def ended(store: JobStore, spool: Spool, add: Callable[..., Job]) -> Callable[[], str]:
    """Adds a job of ten bytes that has ended."""

    def end() -> str:
        job = add()
        spool.write(job.id, FILES, "000000.npz", b"0123456789")
        store.cancel(job.id)
        return job.id

    return end


def test_old_jobs_are_forgotten_with_their_files(
    store: JobStore, spool: Spool, add: Callable[..., Job], ended: Callable[[], str]
) -> None:
    waiting, old = add(), [ended() for _ in range(3)]
    Retention(store, spool, 1000, 1000).sweep()
    assert store.exist(old) == set(old)
    Retention(store, spool, -1, 1000).sweep()
    assert [job.id for job in store.page(None, 10, None)] == [waiting.id]
    assert spool.jobs() == []


def test_the_oldest_make_room(store: JobStore, spool: Spool, ended: Callable[[], str], add: Callable[..., Job]) -> None:
    jobs = [ended() for _ in range(4)]
    retention = Retention(store, spool, 1000, 35)
    retention.sweep()
    assert store.exist(jobs) == set(jobs[1:])
    retention.make_room(15)
    assert store.exist(jobs) == set(jobs[2:])
    add()
    with pytest.raises(NotSaved, match="30 bytes more"):
        retention.make_room(30)
    assert store.bytes() == 10


def test_files_of_no_job_are_removed_when_they_are_old(store: JobStore, spool: Spool, add: Callable[..., Job]) -> None:
    job, young = add(), new_id()
    old = "job-000000000001-0000000000000000"
    for name in (job.id, young, old):
        spool.write(name, FILES, "000000.npz", b"")
    Retention(store, spool, 1000, 1000).sweep()
    assert sorted(spool.jobs()) == sorted([job.id, young])
