"""Webhooks at their receiver: whether a server that knows the secret sent them, and what they say."""

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from choreo.client.answers import Document, read_document
from choreo.client.job_documents import JobStatus
from choreo.client.wire import Answer
from choreo.errors import AccessDenied

TIMESTAMP_HEADER: Final = "choreo-webhook-timestamp"
SIGNATURE_HEADER: Final = "choreo-webhook-signature"
TOLERANCE_S: Final = 300.0
"""Oldest webhook that is believed, so that nobody can send it again later."""
_SECONDS: Final = re.compile(r"[0-9]{1,12}")


class WebhookEvent(Document):
    """What a server tells of a job that has ended.

    Attributes:
        id: of the event, the same each time that it is delivered.
        type: `job.succeeded`, `job.failed` or `job.cancelled`.
    """

    id: str
    type: str
    created_at: datetime
    job: JobStatus


def read_webhook(
    secret: str, headers: Mapping[str, str], body: bytes, *, tolerance_s: float = TOLERANCE_S, now: float | None = None
) -> WebhookEvent:
    """The event of a webhook whose signature is right.

    Args:
        secret: the server's CHOREO_WEBHOOK_SECRET.
        headers: of the request that was received, with names in any case.
        body: its bytes, exactly as they were received.
        tolerance_s: seconds by which its time may differ from `now`.
        now: seconds since 1970; None: the present.

    Raises:
        AccessDenied: it is not signed with the secret, or is too old.
        UnexpectedAnswer: it is signed and says something else.
    """
    given = {name.lower(): value for name, value in headers.items()}
    timestamp, signature = given.get(TIMESTAMP_HEADER, ""), given.get(SIGNATURE_HEADER, "")
    wanted = hmac.new(secret.encode(), timestamp.encode("utf-8", "replace") + b"." + body, hashlib.sha256).hexdigest()
    signed = hmac.compare_digest(f"v1={wanted}".encode(), signature.encode("utf-8", "replace"))
    if not secret or not signed or not _SECONDS.fullmatch(timestamp):
        raise AccessDenied("the webhook is not signed with the secret")
    if abs((time.time() if now is None else now) - int(timestamp)) > tolerance_s:
        raise AccessDenied("the webhook is too old, or the clocks differ")
    return read_document(WebhookEvent, Answer(200, {}, body))
