"""Databases that an earlier version made are gone on with, by any number of servers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, select

from serving.jobs.database import Database
from serving.jobs.leases import Leases
from serving.jobs.records import ItemResult, JobState
from serving.jobs.schema import ABOUT, JOBS, VERSION
from serving.jobs.store import JobStore

OLD = Path(__file__).with_name("version_1.sql").read_text(encoding="utf-8")
JOB = "job-000000000001-0000000000000001"
RESULT = ItemResult("000000.npz", "application/x-npz", 7, "0" * 64, {"seed": 7})


@pytest.fixture
def old_database(database_url: str) -> None:
    """Tables and a job of version 1."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        for statement in OLD.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
    engine.dispose()


def test_jobs_of_an_old_database_go_on(old_database: None, open_database: Callable[[], Database]) -> None:
    with ThreadPoolExecutor(4) as pool:
        databases = list(pool.map(lambda _: open_database(), range(4)))
    database = databases[0]
    with database.reading() as connection:
        assert connection.execute(select(ABOUT.c.version)).scalars().all() == [VERSION]
        about = inspect(connection)
        assert {column["name"] for column in about.get_columns("choreo_jobs")} == set(JOBS.c.keys())
        assert {index["name"] for index in about.get_indexes("choreo_jobs")} >= {index.name for index in JOBS.indexes}
    store, leases = JobStore(database, 100), Leases(databases[1], "machine/one", 1000, 2)
    found = store.with_key("order-1")
    assert found is not None
    assert (found.id, found.state, found.api_key) == (JOB, JobState.QUEUED, None)
    assert store.get(JOB, "studio") is None
    (item,) = leases.claim(5)
    assert item.fields == {"seed": 7}
    assert leases.succeed((JOB, 0), RESULT)
    assert [job.state for job in store.page(None, 10, None)] == [JobState.SUCCEEDED]
