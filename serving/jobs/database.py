"""Opening the database of jobs, and what its errors mean."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from choreo.errors import MissingDependency, NotSaved
from choreo.files import disk_is_full
from serving.errors import StoreUnavailable
from serving.jobs.migration import make_tables

BUSY_S: Final = 20.0
"""Longest wait for another process's transaction."""
CONNECT_S: Final = 5
_READ: Final = "choreo_read"
_FULL: Final = ("database or disk is full", "no space left")
_MAKING: Final = 4
"""How often making the tables is tried, which several servers may do at the same time."""


class Database:
    """Transactions on the database of jobs; every method blocks.

    Args:
        path: of the SQLite file.
        url: of a PostgreSQL database that is used instead, or empty.

    Raises:
        StoreUnavailable: it cannot be reached, or its folder cannot be written.
        MissingDependency: the driver of PostgreSQL is not installed.
        InvalidArtifact: its tables are of a later version.
    """

    def __init__(self, path: Path, url: str = "") -> None:
        self._engine = _postgres(url) if url else _sqlite(path)
        try:
            self._make_tables()
        except BaseException:
            self._engine.dispose()
            raise

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write; it is undone where the block fails.

        Raises:
            NotSaved: the disk is full.
            StoreUnavailable: the database cannot be used now.
        """
        with translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, and waits for no writer.

        Raises:
            StoreUnavailable: the database cannot be used now.
        """
        with translated(), self._engine.connect() as plain:
            connection = plain.execution_options(**{_READ: True})
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _make_tables(self) -> None:
        for attempt in range(_MAKING):
            try:
                with translated(), self._engine.begin() as connection:
                    make_tables(connection)
                return
            except (IntegrityError, StoreUnavailable):  # another server makes them just now
                if attempt == _MAKING - 1:
                    raise
                time.sleep(0.1 * 2**attempt)


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the database as errors of this program; broken constraints stay as they are."""
    try:
        yield
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        cause = error.orig if isinstance(error, DBAPIError) else None
        text = str(cause or error).strip()
        if any(sign in text.lower() for sign in _FULL):
            raise NotSaved("the disk of the database of jobs is full") from error
        raise StoreUnavailable(f"the database of jobs cannot be used: {text.splitlines()[0][:200]}") from error


def _sqlite(path: Path) -> Engine:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if disk_is_full(error):
            raise NotSaved(f"{path.parent} cannot be made: the disk is full") from error
        raise StoreUnavailable(f"the folder of jobs cannot be made: {error}") from error
    engine = create_engine(f"sqlite+pysqlite:///{path}", connect_args={"timeout": BUSY_S})

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, and not when the driver thinks fit
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")  # what was accepted survives a power cut
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        reads = connection.get_execution_options().get(_READ, False)
        # A transaction that reads first and writes later could find that it has read something stale.
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _postgres(url: str) -> Engine:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise MissingDependency("jobs in PostgreSQL need psycopg: pip install 'choreo[postgres]'") from error
    address = make_url(url).set(drivername="postgresql+psycopg")
    return create_engine(address, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_S})
