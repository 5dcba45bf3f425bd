"""Requests are taken once, ended once, and taken again from servers that are gone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from recorded_spans import recorded_spans
from sqlalchemy import select

from serving.jobs.database import Database
from serving.jobs.leases import Leases, owner_name
from serving.jobs.records import Item, ItemResult, Job, JobState
from serving.jobs.schema import TRACES
from serving.jobs.store import JobStore

Add = Callable[..., Job]
DEAD = {"status": 500, "type": "interrupted"}
RESULT = ItemResult("000000.npz", "application/x-npz", 7, "0" * 64, {"seed": 0})


def key(item: Item) -> tuple[str, int]:
    return item.job_id, item.position


def state_of(store: JobStore, job: Job) -> Job:
    found = store.get(job.id)
    assert found is not None
    return found


def test_the_oldest_come_first_and_none_comes_twice(leases: Leases, add: Add) -> None:
    first, second = add(2), add(2)
    assert [key(item) for item in leases.claim(3)] == [(first.id, 0), (first.id, 1), (second.id, 0)]
    assert [key(item) for item in leases.claim(3)] == [(second.id, 1)]
    assert leases.claim(3) == []


def test_servers_share_the_work(open_database: Callable[[], Database], store: JobStore, add: Add) -> None:
    job = add(60)
    servers = [Leases(open_database(), f"machine/{i}", 1000, 3) for i in range(4)]

    def work(leases: Leases) -> list[int]:
        taken = []
        while items := leases.claim(3):
            for item in items:
                assert leases.succeed(key(item), RESULT)
                taken.append(item.position)
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [position for positions in pool.map(work, servers) for position in positions]
    assert sorted(taken) == list(range(60))
    done = state_of(store, job)
    assert (done.state, done.succeeded, done.bytes) == (JobState.SUCCEEDED, 60, 10 + 60 * 7)
    assert done.ended_at is not None


def test_a_job_fails_where_all_its_requests_do(leases: Leases, store: JobStore, add: Add) -> None:
    job = add(2)
    one, two = leases.claim(2)
    assert leases.fail(key(one), {"status": 422})
    assert state_of(store, job).state is JobState.RUNNING
    assert leases.fail(key(two), {"status": 422})
    assert not leases.fail(key(two), {"status": 422})
    done = state_of(store, job)
    assert (done.state, done.failed) == (JobState.FAILED, 2)


@pytest.mark.parametrize("uncounted", [False, True])
def test_what_is_put_back_is_taken_again(leases: Leases, add: Add, uncounted: bool) -> None:
    add()
    (item,) = leases.claim(1)
    assert item.attempts == 1
    leases.put_back([key(item)], uncounted=uncounted)
    assert not leases.succeed(key(item), RESULT)
    (again,) = leases.claim(1)
    assert again.attempts == (1 if uncounted else 2)
    leases.put_back([key(item)], delay_s=1000)
    assert leases.claim(1) == []


def test_a_lease_that_was_lost_is_noticed(leases: Leases, store: JobStore, add: Add) -> None:
    job = add(2)
    keys = [key(item) for item in leases.claim(2)]
    assert leases.heartbeat(keys) == set()
    store.cancel(job.id)
    assert leases.heartbeat(keys) == set(keys)
    assert not leases.succeed(keys[0], RESULT)


def test_leases_that_ran_out_are_taken_over(database: Database, leases: Leases, store: JobStore, add: Add) -> None:
    job = add(2)
    late = Leases(database, "machine/late", lease_s=0, attempts=2)
    old = [key(item) for item in late.claim(1)]
    held = [key(item) for item in leases.claim(1)]
    assert leases.take_over(DEAD) == 1
    (again,) = leases.claim(2)
    assert key(again) == old[0]
    assert again.attempts == 2
    assert late.heartbeat(old) == set(old)
    assert leases.heartbeat(held) == set()
    assert state_of(store, job).running == 2


def test_a_process_that_is_gone_is_not_waited_for(database: Database, add: Add) -> None:
    add()
    alive = owner_name()
    machine, _, process = alive.partition("/")
    _, _, pid, started, *_ = process.split("-")
    gone = machine + "/" + process.replace(f"-{pid}-{started}-", f"-{pid}-{int(started) + 1}-")
    assert len(Leases(database, gone, 1000, 3).claim(1)) == 1
    assert Leases(database, alive, 1000, 3).take_over(DEAD) == 1
    assert len(Leases(database, alive, 1000, 3).claim(1)) == 1
    assert Leases(database, "machine/other", 1000, 3).take_over(DEAD) == 0


def test_a_request_that_takes_servers_with_it_fails_alone(database: Database, store: JobStore, add: Add) -> None:
    job = add(2)
    leases = Leases(database, "machine/late", lease_s=0, attempts=2)
    for _ in range(2):
        assert len(leases.claim(1)) == 1
        leases.take_over(DEAD)
    poison, other = store.results(job.id, 0, 2)
    assert (poison.state, poison.error) == (JobState.FAILED, DEAD)
    assert other.state is JobState.QUEUED
    assert leases.work_left()


def test_a_request_knows_the_trace_of_its_submission_where_there_are_traces(
    leases: Leases, add: Add, store: JobStore, database: Database
) -> None:
    origin = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    job, untraced = add(2, origin=origin), add(1)
    assert leases.claim(1)[0].origin == ""
    with recorded_spans():
        rest = leases.claim(2)
    assert [(key(item), item.origin) for item in rest] == [((job.id, 1), origin), ((untraced.id, 0), "")]
    assert store.cancel(job.id) is not None
    assert store.forget(job.id)
    with database.reading() as connection:
        assert connection.execute(select(TRACES)).all() == []
