"""Validation of a job that is submitted, its hash, and seeds for requests that have none. All of it blocks."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from typing import Any, Final

from choreo.errors import InvalidInput
from choreo.motion.skeleton import FPS
from serving.jobs.records import NewItem, NewJob
from serving.jobs.runner import Prepare
from serving.pipeline.request import Attachments, MotionRequest

Hold = Callable[[float], AbstractContextManager[None]]
"""Seconds of motion to what is entered while a job is kept that asks for them; it may raise `Overloaded`."""
PARTS: Final = tuple(field.name for field in fields(Attachments))


@contextmanager
def unlimited(seconds: float) -> Iterator[None]:
    """A `Hold` that refuses nothing."""
    yield


class KeyConflict(Exception):
    """An idempotency key was used with another body before."""


@dataclass(frozen=True)
class CheckedJob:
    """A job whose requests are valid.

    Attributes:
        rows: of the table of items, without the job's id.
        data: parts of requests by their SHA-256.
        body_hash: SHA-256 of what the caller asked for.
        seconds: of motion that it asks for, all samples counted, without requests whose length is that of a song.
    """

    rows: list[dict[str, Any]]
    data: dict[str, bytes]
    body_hash: str
    webhook_url: str | None
    key: str | None
    api_key: str | None
    seconds: float = 0.0

    @property
    def bytes(self) -> int:
        """Of the parts."""
        return sum(map(len, self.data.values()))


def check(job: NewJob, prepare: Prepare, models: Collection[str] | None) -> CheckedJob:
    """Validate every request as if it were to be danced now, and give seeds to those that have none.

    Args:
        prepare: validates one.
        models: names of the served models; None: they are not known now.

    Raises:
        InvalidInput: a request is wrong; the field begins with its label.
    """
    digest, rows, data, frames = hashlib.sha256(), list[dict[str, Any]](), dict[str, bytes](), 0
    for position, item in enumerate(job.items):
        wanted, parts = _checked(item, prepare, models), dict[str, str]()
        frames += wanted.known_sampled_frames or 0
        for name in PARTS:
            value = getattr(item.parts, name)
            if value is not None:
                parts[name] = hashlib.sha256(value).hexdigest()
                data[parts[name]] = value
        asked = [item.custom_id, item.fields, parts]
        digest.update(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode() + b"\n")
        row = {"position": position, "custom_id": item.custom_id, "parts": parts}
        rows.append(row | {"fields": dict(item.fields) | {"seed": wanted.seed}})
    digest.update((job.webhook_url or "").encode())
    return CheckedJob(rows, data, digest.hexdigest(), job.webhook_url, job.key, job.api_key, frames / FPS)


def _checked(item: NewItem, prepare: Prepare, models: Collection[str] | None) -> MotionRequest:
    try:
        wanted, _ = prepare(item.fields, item.parts, item.label)
        if wanted.model is not None and models is not None and wanted.model not in models:
            raise InvalidInput("model", f"must be one of {', '.join(sorted(models))}, got {wanted.model[:32]!r}")
    except InvalidInput as error:
        raise InvalidInput(f"{item.label}.{error.field}" if item.label else error.field, error.message) from error
    return wanted
