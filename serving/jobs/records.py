"""What is known of jobs and of the requests in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from serving.pipeline.request import Attachments
from serving.pipeline.runs import RunState

JobState = RunState
"""A job's state only moves forward: queued, running, and one of the three ends."""
Key = tuple[str, int]
"""A request: its job, and its position in it."""
ENDED: Final = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
OPEN: Final = (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True)
class NewItem:
    """A validated request of a job that is being submitted.

    Attributes:
        fields: scalar fields as the caller gave them.
        parts: its songs and the like, as bytes.
        label: what its caller knows it by, for messages: `requests[3]`.
    """

    fields: dict[str, Any]
    parts: Attachments
    label: str
    custom_id: str | None = None


@dataclass(frozen=True)
class NewJob:
    """A job that is being submitted.

    Attributes:
        key: idempotency key.
        api_key: name of the API key that it is submitted with, to which it then belongs; None: keys are off.
    """

    items: Sequence[NewItem]
    webhook_url: str | None = None
    key: str | None = None
    api_key: str | None = None


@dataclass(frozen=True)
class Job:
    """A job as it is kept.

    Attributes:
        succeeded, failed, cancelled: requests that ended so, of `total`.
        running: requests that are worked on now.
        bytes: of its songs and results.
        created_at, started_at, ended_at: seconds since 1970.
    """

    id: str
    state: JobState
    total: int
    succeeded: int
    failed: int
    cancelled: int
    bytes: int
    created_at: float
    started_at: float | None
    ended_at: float | None
    body_hash: str
    webhook_url: str | None
    api_key: str | None = None
    running: int = 0
    webhook: "WebhookState | None" = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED

    @property
    def done(self) -> int:
        """Requests that have ended."""
        return self.succeeded + self.failed + self.cancelled


@dataclass(frozen=True)
class Deleted:
    """A job that was deleted.

    Attributes:
        job: as it is now; None: it had ended, and is forgotten.
    """

    job: Job | None


@dataclass(frozen=True)
class JobFigures:
    """All jobs that are kept, and what of them has not ended.

    Attributes:
        jobs: by state.
        waiting, running: requests that are queued, and that are worked on.
        oldest_waiting: seconds since 1970 at which the oldest job with a queued request was submitted.
    """

    jobs: Mapping[JobState, int]
    waiting: int
    running: int
    oldest_waiting: float | None


@dataclass(frozen=True)
class WebhookState:
    """How the delivery of a job's webhook stands: pending, delivered or failed."""

    state: str
    attempts: int
    error: str | None


@dataclass(frozen=True)
class ItemResult:
    """What a finished request left.

    Attributes:
        name: of its file.
        meta: seed, model, frames, seconds, rows and notes.
    """

    name: str
    media_type: str
    bytes: int
    sha256: str
    meta: Mapping[str, Any]


@dataclass(frozen=True)
class Item:
    """A request of a job as it is kept.

    Attributes:
        api_key: name of the API key that its job belongs to, of one that is to be worked on.
        error: the problem document that it ended in.
        origin: `traceparent` of the submission, for those that work on it; empty where it was not traced.
    """

    job_id: str
    position: int
    custom_id: str | None
    state: JobState
    fields: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 0
    api_key: str | None = None
    result: ItemResult | None = None
    error: Mapping[str, Any] | None = None
    origin: str = ""


@dataclass(frozen=True)
class Webhook:
    """A webhook that is due.

    Attributes:
        id: of the event, the same in every attempt.
        body: JSON text.
        attempts: deliveries that were tried before.
    """

    job_id: str
    id: str
    url: str
    body: str
    attempts: int
