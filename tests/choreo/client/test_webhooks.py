"""Webhooks are believed when they are signed with the secret, and fresh."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.client import read_webhook
from choreo.errors import AccessDenied, UnexpectedAnswer
from serving.jobs.delivery import SIGNATURE_HEADER, TIMESTAMP_HEADER, signature

SECRET = "a secret of some length"
JOB = {"id": "job-1", "state": "succeeded", "counts": {"total": 2}, "progress": 1, "created_at": "2026-01-01T00:00:00Z"}
BODY = json.dumps({"id": "evt-1", "type": "job.succeeded", "created_at": "2026-01-01T00:00:01Z", "job": JOB}).encode()


def headers(secret: str = SECRET, time: str = "1000", body: bytes = BODY) -> dict[str, str]:
    digest = hmac.new(secret.encode(), f"{time}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Choreo-Webhook-Timestamp": time, "CHOREO-WEBHOOK-SIGNATURE": f"v1={digest}"}


def test_a_signed_webhook_is_read() -> None:
    event = read_webhook(SECRET, headers(), BODY, now=1200)
    assert (event.id, event.type, event.job.id, event.job.ended) == ("evt-1", "job.succeeded", "job-1", True)


@pytest.mark.parametrize(
    ("secret", "given", "body", "now"),
    [
        (SECRET, headers("other"), BODY, 1000), (SECRET, headers(), BODY + b" ", 1000), (SECRET, {}, BODY, 1000),
        (SECRET, headers(), BODY, 1301), (SECRET, headers(), BODY, 699), ("", headers(""), BODY, 1000),
        (SECRET, headers(time="1e3"), BODY, 1000), (SECRET, headers(time=""), BODY, 0),
        (SECRET, headers() | {"Choreo-Webhook-Timestamp": "1001"}, BODY, 1000),
    ],
)  # fmt: skip
def test_others_are_refused(secret: str, given: dict[str, str], body: bytes, now: float) -> None:
    with pytest.raises(AccessDenied):
        read_webhook(secret, given, body, now=now)


def test_what_is_signed_and_no_webhook() -> None:
    with pytest.raises(UnexpectedAnswer):
        read_webhook(SECRET, headers(body=b"{}"), b"{}", now=1000)


TEXTS = st.text(max_size=12)


@given(values=st.dictionaries(TEXTS, TEXTS, max_size=3), time=TEXTS, signature=TEXTS, body=st.binary(max_size=12))
def test_strangers_are_refused_whatever_they_send(
    values: dict[str, Any], time: str, signature: str, body: bytes
) -> None:
    named = {"choreo-webhook-timestamp": time, "choreo-webhook-signature": signature}
    with pytest.raises(AccessDenied):
        read_webhook(SECRET, values | named, body)


def test_the_servers_own_signature_is_believed() -> None:
    given = {TIMESTAMP_HEADER: "1000", SIGNATURE_HEADER: signature(SECRET, "1000", BODY)}
    assert read_webhook(SECRET, given, BODY, now=1000).id == "evt-1"
