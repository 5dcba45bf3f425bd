"""Databases of jobs that earlier versions made, brought up to the present tables. Nothing that they hold is changed."""

from typing import Final

from sqlalchemy import Connection, insert, select, text, update

from choreo.errors import InvalidArtifact
from serving.jobs.schema import ABOUT, JOBS, METADATA, VERSION

_COLUMNS: Final = {1: ("ALTER TABLE choreo_jobs ADD COLUMN api_key VARCHAR(64)",)}
"""What turns the tables of a version into those of the next one; indices are made afterwards."""


def make_tables(connection: Connection) -> None:
    """Make the tables that are not there, and bring those that are up to date.

    Several servers may do so at the same time: the row with the version lets one of them through at a time.

    Raises:
        InvalidArtifact: the tables are of a later version than this program.
        SQLAlchemyError: as where two servers make the same table at once.
    """
    METADATA.create_all(connection)
    found = connection.execute(select(ABOUT.c.version).with_for_update()).scalars().all()
    if not found:
        connection.execute(insert(ABOUT).values(version=VERSION))
        return
    version = max(found)
    if version > VERSION:
        raise InvalidArtifact(f"the database of jobs is of version {version}; this program has {VERSION}")
    if version == VERSION:
        return
    for step in range(version, VERSION):
        for statement in _COLUMNS[step]:
            connection.execute(text(statement))
    for index in JOBS.indexes:
        index.create(connection, checkfirst=True)
    connection.execute(update(ABOUT).values(version=VERSION))
