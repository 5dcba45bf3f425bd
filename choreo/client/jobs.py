"""Flows of asynchronous jobs: submitting, watching, reading and fetching results, cancelling."""

import hashlib
import json
import math
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from choreo.client.answers import read_document
from choreo.client.connection import Connection
from choreo.client.dance import Dance, read_dance
from choreo.client.fields import form_texts, scalars
from choreo.client.job_documents import ID, JobFile, JobPage, JobResult, JobStatus, read_results
from choreo.client.problems import retry_after_s
from choreo.client.retries import Deadline, Retries, exchange
from choreo.client.submission import of_catalog, of_requests
from choreo.client.uploads import Progress, Source
from choreo.client.wire import Answer, Flow, Pause, Request, work
from choreo.errors import (
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    UnexpectedAnswer,
)
from choreo.files import atomic_write, file_sha256

JOBS: Final = "/v1/jobs"
PAGE_JOBS: Final = 100
PAGE_RESULTS: Final = 500
MAX_PAGE_BYTES: Final = 64 << 20
POLL_FIRST_S, POLL_LONGEST_S = 0.1, 30.0
"""Pauses between looks at a job: they grow up to what the server asks for, and no further than this."""
PATIENCE_S: Final = 300.0
"""Longest time for which a server that is watched may be away, as while it restarts."""
RESULTS_FILE: Final = "results.jsonl"
_PATIENT: Final = Retries(busy=1000, lost=1000, longest_s=5.0)
_KEY: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")

Watcher = Callable[[JobStatus], None]
"""Told the state of a job each time that it is looked at."""
Fetched = Callable[[int, int], None]
"""Told how many requests' files are there, and of how many requests."""


def submit(
    at: Connection,
    requests: Sequence[Mapping[str, Any]] | None,
    *,
    catalog: str | PathLike[str] | None,
    songs: Mapping[str, Source] | None,
    webhook: str | None,
    idempotency_key: str | None,
    timeout_s: float | None,
    progress: Progress | None,
) -> Flow[JobStatus]:
    """`POST /v1/jobs`, with a key by which the server knows a submission that is repeated."""
    deadline, key = at.deadline(timeout_s), _key(idempotency_key)
    if (requests is None) == (catalog is None):
        raise InvalidInput("requests", "give either requests or a catalog")
    if catalog is None and songs:
        raise InvalidInput("songs", "belong to a catalog; requests hold their own")
    wanted = yield from work(lambda: of_requests(requests or ()) if catalog is None else of_catalog(catalog, songs))
    form = form_texts(scalars({"webhook_url": webhook}))
    hook = {} if webhook is None else {"webhook": {"url": webhook}}
    headers = {"Idempotency-Key": key}

    def make(left: float) -> Request:
        if wanted.uploads:
            return Request("POST", JOBS, left, headers=headers, form=form, uploads=wanted.uploads, progress=progress)
        return Request("POST", JOBS, left, headers=headers, json={"requests": wanted.requests, **hook})

    try:
        return (yield from exchange(make, _read_status, deadline, at.retries))
    except InvalidInput as error:
        raise wanted.error(error) from error


def status(at: Connection, job_id: str) -> Flow[JobStatus]:
    """`GET /v1/jobs/{id}`."""
    return (yield from exchange(_get(_path(job_id)), _read_status, at.deadline(None), at.retries))


def page(at: Connection, cursor: str | None, state: str | None) -> Flow[JobPage]:
    """`GET /v1/jobs`: a page of jobs, the newest first."""
    given = {"limit": str(PAGE_JOBS), "cursor": cursor, "state": state}
    query = {name: value for name, value in given.items() if value is not None}
    return (
        yield from exchange(
            _get(JOBS, query), lambda answer: read_document(JobPage, answer), at.deadline(None), at.retries
        )
    )


def wait(at: Connection, job_id: str, progress: Watcher | None, timeout_s: float | None) -> Flow[JobStatus]:
    """Look at a job until it has ended."""
    path = _path(job_id)
    deadline = Deadline.after(math.inf) if timeout_s is None else at.deadline(timeout_s)
    pause = POLL_FIRST_S
    while True:
        look = Deadline.after(min(PATIENCE_S, max(deadline.left_s, POLL_FIRST_S)))
        found, asked_s = yield from exchange(_get(path), _read_polled, look, _PATIENT)
        if progress is not None:
            progress(found)
        if found.ended:
            return found
        pause = min(2 * pause, asked_s or POLL_LONGEST_S, POLL_LONGEST_S)
        if pause >= deadline.left_s:
            raise DeadlineExceeded(f"the job {job_id} is {found.state} after {deadline.seconds:g} s; it goes on")
        yield Pause(pause)


def results(at: Connection, job_id: str, offset: int) -> Flow[tuple[JobResult, ...]]:
    """`GET /v1/jobs/{id}/results`: a page of results from `offset` on, in the order of the requests."""
    query = {"offset": str(offset), "limit": str(PAGE_RESULTS)}
    get = _get(f"{_path(job_id)}/results", query)
    found = yield from exchange(get, read_results, at.deadline(None), at.retries)
    if any(result.index != offset + i for i, result in enumerate(found)):
        raise UnexpectedAnswer(f"the results of {job_id} are not in their order")
    return found


def dance(at: Connection, job_id: str, result: JobResult) -> Flow[Dance]:
    """The dance that a request of a job left."""
    if not result.files:
        raise result.error or NotFound(f"request {result.index} is {result.state} and has left no dance")
    file = result.files[0]
    answer = yield from _file(at, job_id, file)
    return (yield from work(lambda: read_dance(answer, file.name.rpartition(".")[2])))


def download(
    at: Connection, job_id: str, folder: str | PathLike[str], progress: Fetched | None
) -> Flow[tuple[Path, ...]]:
    """Fetch all files of a job that are not there yet, and its results as JSON lines."""
    target = Path(folder)
    yield from work(lambda: _make_folder(target))
    total = (yield from status(at, job_id)).counts.total
    found: list[JobResult] = []
    paths: list[Path] = []
    while len(found) < total and (more := (yield from results(at, job_id, len(found)))):
        for result in more:
            for file in result.files:
                paths.append(target / file.name)
                yield from _fetch(at, job_id, file, paths[-1])
            found.append(result)
            if progress is not None:
                progress(len(found), total)
    lines = b"".join(json.dumps(result.document).encode() + b"\n" for result in found)
    yield from work(lambda: atomic_write(target / RESULTS_FILE, lines))
    return tuple(paths)


def cancel(at: Connection, job_id: str) -> Flow[JobStatus]:
    """End a job; one that has ended stays as it is, whenever it did. Asking again changes nothing more."""
    delete = _delete(_path(job_id), {"forget": "false"})
    return (yield from exchange(delete, _read_status, at.deadline(None), at.retries))


def forget(at: Connection, job_id: str) -> Flow[None]:
    """Remove a job that has ended, with its files."""
    found = yield from status(at, job_id)
    if not found.ended:
        raise InvalidInput("job", f"{job_id} is {found.state}; cancel it, or wait for its end, before it is forgotten")
    try:
        yield from exchange(_delete(_path(job_id)), lambda answer: None, at.deadline(None), at.retries)
    except NotFound:
        return  # it was there a moment ago


def _fetch(at: Connection, job_id: str, file: JobFile, path: Path) -> Flow[None]:
    if (yield from work(lambda: _is_there(path, file))):
        return
    answer = yield from _file(at, job_id, file)
    yield from work(lambda: atomic_write(path, answer.body))


def _file(at: Connection, job_id: str, file: JobFile) -> Flow[Answer]:
    path = f"{_path(job_id)}/files/{quote(file.name)}"

    def make(left: float) -> Request:
        return Request("GET", path, left, limit=file.bytes)

    answer = yield from exchange(make, lambda answer: answer, at.deadline(None), at.retries)
    if (yield from work(lambda: hashlib.sha256(answer.body).hexdigest())) != file.sha256:
        raise UnexpectedAnswer(f"{file.name} of {job_id} is not what its results say")
    return answer


def _is_there(path: Path, file: JobFile) -> bool:
    return path.is_file() and path.stat().st_size == file.bytes and file_sha256(path) == file.sha256


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput("folder", f"{folder} cannot be made: {error.strerror or error}") from error


def _key(key: str | None) -> str:
    """The key, or one that nobody else has."""
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidInput("idempotency_key", "must be 1 to 128 letters, digits and . _ : -")
    return key or secrets.token_hex(16)


def _path(job_id: str) -> str:
    if not ID.fullmatch(job_id):
        raise InvalidInput("job", f"must be the id of a job, got {job_id[:64]!r}")
    return f"{JOBS}/{job_id}"


def _get(path: str, query: Mapping[str, str] | None = None) -> Callable[[float], Request]:
    return lambda left: Request("GET", path, left, query=query or {}, limit=MAX_PAGE_BYTES)


def _delete(path: str, query: Mapping[str, str] | None = None) -> Callable[[float], Request]:
    return lambda left: Request("DELETE", path, left, query=query or {}, limit=MAX_PAGE_BYTES)


def _read_status(answer: Answer) -> JobStatus:
    return read_document(JobStatus, answer)


def _read_polled(answer: Answer) -> tuple[JobStatus, float | None]:
    return _read_status(answer), retry_after_s(answer)
