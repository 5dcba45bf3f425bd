"""Flows of everything that is answered at once: dances, searches, and what a server says about itself."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from choreo.client.answers import (
    Library,
    LibraryAnswer,
    Model,
    Models,
    SearchResult,
    Version,
    read_document,
)
from choreo.client.connection import Connection
from choreo.client.dance import FORMAT, Dance, read_dance, rig_format, with_notes
from choreo.client.fields import Value, form_texts, scalars
from choreo.client.parts import AUTO, UPRIGHT, Features, Start, features_upload, start_upload
from choreo.client.retries import Deadline, Retries, exchange
from choreo.client.uploads import Progress, Source, Upload, upload
from choreo.client.wire import Flow, Request, work
from choreo.errors import BackendUnavailable, DeadlineExceeded, InvalidInput, Overloaded, ServerFailed

MAX_DOCUMENT_BYTES: Final = 64 << 20
READY_S: Final = 10.0
"""Longest time that the question whether a server is ready may take."""
_ONCE: Final = Retries(busy=0, lost=0)


@dataclass(frozen=True)
class DanceTo:
    """What a dance or a search is made to.

    Attributes:
        text: what to dance, in words.
        song: a song in any common format.
        features: of music, in place of a song.
        start: motion that the dance begins with; searches have none.
        end: motion that it ends with.
        clip: motion that constraints take spans or poses of.
        rig: a character's file, which is the answer with the dance in it.
        leader: motion of one dancer whom a duet model gives a partner.
    """

    text: str | None = None
    song: Source | None = None
    features: Features | None = None
    start: Start | None = None
    end: Start | None = None
    clip: Start | None = None
    rig: Source | None = None
    leader: Start | None = None


@dataclass(frozen=True)
class _Body:
    """Fields and files of a request, and what was noted while they were read."""

    values: dict[str, Value]
    uploads: tuple[Upload, ...]
    notes: tuple[str, ...] = ()


def generate(
    at: Connection,
    to: DanceTo,
    fields: Mapping[str, Any],
    *,
    seed: int | None,
    format: str | None,
    timeout_s: float | None,
    progress: Progress | None,
) -> Flow[Dance]:
    """`POST /v1/generate`. The seed is drawn here, so that a request that is repeated makes the same dance."""
    deadline = at.deadline(timeout_s)
    name = None if to.rig is not None and format is None else _named(format)
    seed = secrets.randbelow(2**31) if seed is None else seed
    body = yield from work(lambda: _body(to, {**fields, "seed": seed, "format": name}))

    def make(left: float) -> Request:
        return _request("/v1/generate", _Body(body.values | {"timeout": left}, body.uploads), left, progress)

    answer = yield from exchange(make, lambda answer: answer, deadline, at.retries)
    dance = yield from work(lambda: read_dance(answer, name or rig_format(answer)))
    return with_notes(dance, body.notes)


def _named(format: str | None) -> str:
    return (format or FORMAT).strip().lower().removeprefix(".")


def search(
    at: Connection, to: DanceTo, fields: Mapping[str, Any], *, top_n: int, timeout_s: float | None
) -> Flow[SearchResult]:
    """`POST /v1/phrases/search`."""
    deadline = at.deadline(timeout_s)
    body = yield from work(lambda: _body(to, {**fields, "top_n": top_n}))
    return (
        yield from exchange(
            lambda left: _request("/v1/phrases/search", body, left, None),
            lambda answer: read_document(SearchResult, answer),
            deadline,
            at.retries,
        )
    )


def models(at: Connection) -> Flow[tuple[Model, ...]]:
    """`GET /v1/models`."""
    found = yield from exchange(
        _get("/v1/models"), lambda answer: read_document(Models, answer), at.deadline(None), at.retries
    )
    return found.models


def library(at: Connection) -> Flow[Library | None]:
    """`GET /v1/phrases`."""
    found = yield from exchange(
        _get("/v1/phrases"), lambda answer: read_document(LibraryAnswer, answer), at.deadline(None), at.retries
    )
    return found.library


def version(at: Connection) -> Flow[Version]:
    """`GET /v1/version`."""
    return (
        yield from exchange(
            _get("/v1/version"), lambda answer: read_document(Version, answer), at.deadline(None), at.retries
        )
    )


def ready(at: Connection) -> Flow[bool]:
    """`GET /readyz`, asked once."""
    try:
        return (yield from exchange(_get("/readyz"), lambda answer: True, Deadline.after(READY_S), _ONCE))
    except (BackendUnavailable, DeadlineExceeded, Overloaded, ServerFailed):
        return False


def _get(path: str) -> Callable[[float], Request]:
    return lambda left: Request("GET", path, left, limit=MAX_DOCUMENT_BYTES)


def _request(path: str, body: _Body, left: float, progress: Progress | None) -> Request:
    if body.uploads:
        return Request("POST", path, left, form=form_texts(body.values), uploads=body.uploads, progress=progress)
    return Request("POST", path, left, json=body.values)


def _body(to: DanceTo, fields: Mapping[str, Any]) -> _Body:
    """Check and read what a request is made of.

    Raises:
        InvalidInput: a file cannot be read, or a value cannot travel.
    """
    if "timeout" in fields:
        raise InvalidInput("timeout", "is given as timeout_s")
    values = scalars({"text_prompt": to.text, **fields})
    uploads: list[Upload] = []
    notes: tuple[str, ...] = ()
    if to.song is not None:
        uploads.append(upload(to.song, "audio", "song"))
    if to.features is not None:
        uploads.append(features_upload(to.features))
    if to.rig is not None:
        uploads.append(upload(to.rig, "rig"))
    up = str(values.get("up", AUTO))
    for name, motion in (("start", to.start), ("end", to.end), ("clip", to.clip), ("leader", to.leader)):
        if motion is not None:
            made, more = start_upload(motion, up, name, name)
            uploads.append(made)
            notes += more
            if not isinstance(motion, bytes):
                values["up"] = UPRIGHT
    return _Body(values, tuple(uploads), notes)
