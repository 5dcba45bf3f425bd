"""A client of choreo servers: `Client`, and `AsyncClient` for event loops, with the same methods.

    with Client("http://127.0.0.1:8000") as client:
        dance = client.generate("slow waltz with wide turns", song="song.mp3")
        dance.save("dance.bvh")

Errors are those of `choreo.errors`.
"""

from choreo.client.answers import Library, Model, Phrase, SearchResult, Version
from choreo.client.asynchronous import AsyncClient, AsyncJob
from choreo.client.dance import Dance
from choreo.client.fields import GenerateFields, SearchFields
from choreo.client.job_documents import JobCounts, JobFile, JobResult, JobStatus
from choreo.client.retries import Retries
from choreo.client.submission import JobRequest
from choreo.client.sync import Client, Job
from choreo.client.webhooks import WebhookEvent, read_webhook

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "Client",
    "Dance",
    "GenerateFields",
    "Job",
    "JobCounts",
    "JobFile",
    "JobRequest",
    "JobResult",
    "JobStatus",
    "Library",
    "Model",
    "Phrase",
    "Retries",
    "SearchFields",
    "SearchResult",
    "Version",
    "WebhookEvent",
    "read_webhook",
]
