"""What is due of webhooks, and when."""

from collections.abc import Callable

import pytest

from serving.jobs.database import Database
from serving.jobs.delivery import DELIVERED, GIVEN_UP, PENDING, backoff_s, signature
from serving.jobs.outbox import Outbox
from serving.jobs.records import Job
from serving.jobs.store import JobStore


def test_a_signature_that_was_computed_elsewhere() -> None:
    # printf '%s' '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 'a secret of some length'
    expected = "v1=e09db3ce6e6e8f9b633a62851e5074a9e9148ac19b1c0e1a8f7c352380be630b"
    assert signature("a secret of some length", "1700000000", b'{"a":1}') == expected


def test_the_time_between_attempts_doubles_up_to_an_hour() -> None:
    assert [backoff_s(attempts, 5) for attempts in (1, 2, 3, 4)] == [5, 10, 20, 40]
    assert backoff_s(12, 5) == backoff_s(1000, 5) == 3600


@pytest.mark.parametrize("state", [DELIVERED, GIVEN_UP])
def test_a_webhook_is_due_once_at_a_time(
    database: Database, store: JobStore, add: Callable[..., Job], state: str
) -> None:
    outbox = Outbox(database)
    add()
    job = add(webhook_url="https://example.org/")
    assert outbox.due(10, 1000) == []
    for each in store.page(None, 10, None):
        store.cancel(each.id)
    (webhook,) = outbox.due(10, 1000)
    assert (webhook.job_id, webhook.url, webhook.attempts) == (job.id, "https://example.org/", 0)
    assert '"type": "job.cancelled"' in webhook.body
    assert outbox.due(10, 1000) == []
    outbox.ended(webhook, PENDING, 0, "no answer")
    (again,) = outbox.due(10, 1000)
    assert (again.id, again.attempts) == (webhook.id, 1)
    outbox.ended(again, state, 0, None)
    assert outbox.due(10, 1000) == []
    found = store.get(job.id)
    assert found is not None
    assert found.webhook is not None
    assert (found.webhook.state, found.webhook.attempts) == (state, 2)
