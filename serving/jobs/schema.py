"""The tables of jobs, the same in SQLite and PostgreSQL. Times are seconds since 1970."""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

VERSION: Final = 2
"""Of the tables. Older databases are brought up to it (`serving.jobs.migration`), newer ones are refused."""

METADATA: Final = MetaData()

ABOUT: Final = Table("choreo_jobs_about", METADATA, Column("version", Integer, primary_key=True, autoincrement=False))

JOBS: Final = Table(
    "choreo_jobs",
    METADATA,
    Column("id", String(40), primary_key=True),  # sorts by the time of submission
    Column("state", String(16), nullable=False),
    Column("total", Integer, nullable=False),
    Column("succeeded", Integer, nullable=False, default=0),
    Column("failed", Integer, nullable=False, default=0),
    Column("cancelled", Integer, nullable=False, default=0),
    Column("bytes", BigInteger, nullable=False, default=0),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("idempotency_key", String(128), unique=True),
    Column("body_hash", String(64), nullable=False),
    Column("webhook_url", Text),
    Column("api_key", String(64)),  # name of the API key that it was submitted with; since version 2
    Index("choreo_jobs_by_state", "state", "id"),
    Index("choreo_jobs_by_end", "ended_at"),
    Index("choreo_jobs_by_api_key", "api_key", "id"),
)

ITEMS: Final = Table(
    "choreo_job_items",
    METADATA,
    Column("job_id", String(40), nullable=False),
    Column("position", Integer, nullable=False),
    Column("custom_id", String(256)),
    Column("state", String(16), nullable=False),
    Column("fields", JSON, nullable=False),  # scalar fields, with a seed
    Column("parts", JSON, nullable=False),  # name of the part -> name in the spool
    Column("attempts", Integer, nullable=False, default=0),
    Column("not_before", Float, nullable=False, default=0.0),
    Column("owner", String(160)),
    Column("lease_until", Float),
    Column("result", JSON),
    Column("error", JSON),
    PrimaryKeyConstraint("job_id", "position"),
    ForeignKeyConstraint(["job_id"], ["choreo_jobs.id"], ondelete="CASCADE"),
    Index("choreo_job_items_by_state", "state", "job_id", "position"),
)

# Only of jobs whose submission was traced. A table of its own: servers of earlier versions do without it.
TRACES: Final = Table(
    "choreo_job_traces",
    METADATA,
    Column("job_id", String(40), primary_key=True),
    Column("traceparent", String(64), nullable=False),
    ForeignKeyConstraint(["job_id"], ["choreo_jobs.id"], ondelete="CASCADE"),
)

WEBHOOKS: Final = Table(
    "choreo_job_webhooks",
    METADATA,
    Column("job_id", String(40), primary_key=True),
    Column("id", String(40), nullable=False),
    Column("state", String(16), nullable=False),
    Column("url", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_at", Float, nullable=False),
    Column("error", Text),
    ForeignKeyConstraint(["job_id"], ["choreo_jobs.id"], ondelete="CASCADE"),
    Index("choreo_job_webhooks_due", "state", "next_at"),
)
