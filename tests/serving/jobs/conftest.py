"""Databases of jobs: SQLite, and a real PostgreSQL where it is installed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from bench.postgres_server import postgres, postgres_programs
from serving.jobs.database import Database
from serving.jobs.leases import Leases
from serving.jobs.records import Job
from serving.jobs.schema import METADATA
from serving.jobs.store import JobStore, Submission, new_id

KINDS = ("sqlite", pytest.param("postgresql", marks=pytest.mark.slow))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Address of a PostgreSQL that is running."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    pytest.importorskip("psycopg")
    with postgres(programs) as url:
        yield url


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQLAlchemy's address of the database that `open_database` opens."""
    if request.param == "sqlite":
        return f"sqlite+pysqlite:///{tmp_path}/jobs.sqlite"
    url: str = request.getfixturevalue("postgres_url")
    return url.replace("postgresql:", "postgresql+psycopg:")


@pytest.fixture
def open_database(database_url: str, tmp_path: Path) -> Iterator[Callable[[], Database]]:
    """Opens the same, empty database each time, as several servers do."""
    opened: list[Database] = []
    url = "" if database_url.startswith("sqlite") else database_url

    def open_one() -> Database:
        opened.append(Database(tmp_path / "jobs.sqlite", url))
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()
    if url:
        engine = create_engine(url)
        METADATA.drop_all(engine)
        engine.dispose()


@pytest.fixture
def database(open_database: Callable[[], Database]) -> Database:
    return open_database()


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database, max_waiting=100)


@pytest.fixture
def leases(database: Database) -> Leases:
    return Leases(database, "machine/one", lease_s=1000, attempts=2)


@pytest.fixture
def add(store: JobStore) -> Callable[..., Job]:
    """Adds a job of so many requests."""

    def add_one(requests: int = 1, **given: Any) -> Job:
        items = [{"position": i, "custom_id": None, "fields": {"seed": i}, "parts": {}} for i in range(requests)]
        values = {"bytes": 10, "body_hash": "0" * 64, "webhook_url": None, "key": None} | given
        return store.add(Submission(new_id(), items, **values))

    return add_one
