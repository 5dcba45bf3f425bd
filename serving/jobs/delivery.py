"""One delivery of a webhook: its headers and signature, how it fails, and when it is tried again."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Final

from choreo.errors import ChoreoError


class Outcome(StrEnum):
    """How one attempt to deliver a webhook ended."""

    DELIVERED = "delivered"
    RETRIED = "retried"
    GIVEN_UP = "given_up"


PENDING: Final = "pending"
DELIVERED: Final = "delivered"
GIVEN_UP: Final = "failed"
ID_HEADER: Final = "Choreo-Webhook-Id"
TIMESTAMP_HEADER: Final = "Choreo-Webhook-Timestamp"
SIGNATURE_HEADER: Final = "Choreo-Webhook-Signature"
MAX_BACKOFF_S: Final = 3600.0

Post = Callable[[str, Mapping[str, str], bytes], Awaitable[None]]
"""Address, headers and body to one delivery. It raises `DeliveryFailed`."""


class DeliveryFailed(ChoreoError):
    """A webhook was not delivered; the message says why, without what its receiver sent."""


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What a receiver compares with: `v1=` and the HMAC-SHA256 of `timestamp.body` in hex digits."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"v1={digest}"


def backoff_s(attempts: int, first_s: float) -> float:
    """Seconds until the next attempt after so many."""
    return float(min(first_s * 2.0 ** min(attempts - 1, 32), MAX_BACKOFF_S))
