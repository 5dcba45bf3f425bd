"""What a job looks like from outside."""

from datetime import UTC, datetime
from typing import Any

from serving.jobs.records import Job, WebhookState


def job_document(job: Job) -> dict[str, Any]:
    """A job as its caller sees it."""
    counts = {
        "total": job.total,
        "queued": 0 if job.ended else max(job.total - job.done - job.running, 0),
        "running": 0 if job.ended else job.running,
        "succeeded": job.succeeded,
        "failed": job.failed,
        "cancelled": job.cancelled,
    }
    path = f"/v1/jobs/{job.id}"
    return {
        "id": job.id,
        "state": str(job.state),
        "counts": counts,
        "progress": round(job.done / job.total, 4),
        "created_at": moment(job.created_at),
        "started_at": moment(job.started_at),
        "ended_at": moment(job.ended_at),
        "bytes": job.bytes,
        "webhook": _webhook_document(job),
        "links": {"self": path, "results": f"{path}/results"},
    }


def moment(seconds: float | None) -> str | None:
    """A time as RFC 3339 writes it, in UTC, to the millisecond."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _webhook_document(job: Job) -> dict[str, Any] | None:
    if job.webhook_url is None:
        return None
    hook = job.webhook or WebhookState("waiting", 0, None)
    return {"url": job.webhook_url, "state": hook.state, "attempts": hook.attempts, "error": hook.error}
