"""Webhooks in the database: due from the transaction that ends a job until they are delivered. Every method blocks."""

import json
import secrets
import time

from sqlalchemy import Connection, insert, select, update

from serving.jobs.database import Database
from serving.jobs.delivery import PENDING
from serving.jobs.documents import job_document, moment
from serving.jobs.records import Job, Webhook
from serving.jobs.schema import WEBHOOKS


def announce(connection: Connection, job: Job, now: float) -> None:
    """Make the webhook of a job that has just ended due, in the transaction that ends it."""
    if job.webhook_url is None:
        return
    event = f"evt-{secrets.token_hex(12)}"
    document = {name: value for name, value in job_document(job).items() if name != "webhook"}
    body = {"id": event, "type": f"job.{job.state}", "created_at": moment(now), "job": document}
    connection.execute(
        insert(WEBHOOKS).values(
            job_id=job.id, id=event, state=PENDING, url=job.webhook_url, body=json.dumps(body), next_at=now
        )
    )


class Outbox:
    """Webhooks in the database; every method blocks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, limit: int, lease_s: float) -> list[Webhook]:
        """Up to so many that are due, which nobody else tries for `lease_s`."""
        now = time.time()
        wanted = (
            select(*(WEBHOOKS.c[name] for name in ("job_id", "id", "url", "body", "attempts")))
            .where(WEBHOOKS.c.state == PENDING, WEBHOOKS.c.next_at <= now)
            .order_by(WEBHOOKS.c.next_at)
            .limit(limit)
        )
        with self._database.reading() as connection:
            if connection.execute(wanted.limit(1)).first() is None:
                return []
        with self._database.writing() as connection:
            found = [Webhook(**row._mapping) for row in connection.execute(wanted.with_for_update(skip_locked=True))]
            ids = [webhook.job_id for webhook in found]
            connection.execute(update(WEBHOOKS).where(WEBHOOKS.c.job_id.in_(ids)).values(next_at=now + lease_s))
        return found

    def ended(self, webhook: Webhook, state: str, next_at: float, error: str | None) -> None:
        """Note how an attempt ended."""
        with self._database.writing() as connection:
            connection.execute(
                update(WEBHOOKS)
                .where(WEBHOOKS.c.job_id == webhook.job_id)
                .values(state=state, attempts=webhook.attempts + 1, next_at=next_at, error=error)
            )
