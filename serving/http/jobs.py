"""The routes of asynchronous jobs."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import FastAPI, Path, Query, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from choreo.motion.formats.formats import FORMATS, Format
from choreo.motion.skeleton import FPS
from serving.http import job_documents as documents
from serving.http.job_body import KEY_HEADER, idempotency_key, read_job
from serving.http.keys import KeyRing, key_name, motion_of
from serving.http.metrics import Metrics
from serving.http.openapi import problems
from serving.http.problems import HttpProblem, problem_of
from serving.http.uploads import Uploads, slow_upload
from serving.http.webhook_post import WebhookPost
from serving.jobs.delivery import Post
from serving.jobs.documents import job_document
from serving.jobs.records import Item, Job, JobState
from serving.jobs.runner import Prepare, Work
from serving.jobs.service import Jobs
from serving.jobs.submission import KeyConflict
from serving.pipeline.admission import Admission
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.request import MotionRequest
from serving.pipeline.results import DeliveredFile
from serving.pipeline.runs import RunService
from serving.settings import Settings

POLL_S: Final = 2
"""What callers are told to wait before they look at a job again."""
LINES: Final = 500
"""Lines of results that are read at a time."""
MAX_PAGE: Final = 100
MAX_POSITION: Final = 1_000_000
_JOB: Final = re.compile(r"job-[0-9a-f]{12}-[0-9a-f]{16}")
_FILE: Final = re.compile(r"(?P<position>[0-9]{6,7})\.[a-z0-9]{1,8}")

JobId = Annotated[str, Path(description="Of a job.", max_length=64)]


def make_jobs(
    settings: Settings,
    admission: Admission,
    runs: RunService,
    pipeline: Pipeline,
    prepare: Prepare,
    metrics: Metrics,
    versions: Mapping[str, Any],
    keys: KeyRing,
    post: Post | None = None,
) -> Jobs:
    """The jobs of a server, worked on by its own pipeline.

    Args:
        prepare: validates a request as `POST /v1/generate` does.
        versions: for the metadata of motions.
        keys: whose limits motion counts against that was not counted when its job was submitted.
        post: delivers webhooks; None: over the network.
    """

    async def deliver(request: MotionRequest) -> DeliveredFile:
        about = {"request_id": request.request_id, "versions": versions} if request.format is Format.JSON else {}
        done = await pipeline.deliver(request, about)
        metrics.generated(done)
        return done

    async def models() -> list[str]:
        return list(await pipeline.models())

    def problem(error: Exception, request_id: str) -> dict[str, Any]:
        return problem_of(error).document(request_id)

    def made(item: Item, request: MotionRequest, done: DeliveredFile) -> None:
        caller = keys.named(item.api_key)
        if caller is not None and request.known_frames is None:
            caller.made(request.num_samples * done.num_frames / FPS)

    work = Work(prepare, deliver, problem, made)
    return Jobs(settings, admission, runs, work, models, post or WebhookPost(settings))


class JobAnswers:
    """Questions about jobs to answers."""

    def __init__(self, jobs: Jobs, settings: Settings, uploads: Uploads) -> None:
        self._jobs, self._settings, self._uploads = jobs, settings, uploads

    async def submit(self, request: Request) -> Response:
        """`POST /v1/jobs`."""
        key = idempotency_key(request)
        if key is None:  # a job with a key may be there already
            await self._jobs.check_space()
        try:
            with self._uploads.place(request):
                async with asyncio.timeout(self._settings.request_timeout_s):
                    wanted = await read_job(request, key, self._settings)
        except TimeoutError as error:
            raise slow_upload() from error
        try:
            hold = partial(motion_of, request)
            job, _ = await self._jobs.submit(replace(wanted, api_key=key_name(request)), hold)
        except KeyConflict as error:
            message = "was used for another job before"
            raise HttpProblem(HTTPStatus.CONFLICT, "idempotency-conflict", message, KEY_HEADER) from error
        return self._answer(job, HTTPStatus.OK if job.ended else HTTPStatus.ACCEPTED)

    async def page(self, request: Request, cursor: str | None, limit: int, state: JobState | None) -> Response:
        """`GET /v1/jobs`."""
        jobs = await self._jobs.page(cursor, limit + 1, state, key_name(request))
        more = jobs[limit - 1].id if len(jobs) > limit else None
        return JSONResponse({"jobs": [job_document(job) for job in jobs[:limit]], "next": more})

    async def get(self, request: Request, job_id: str) -> Response:
        """`GET /v1/jobs/{id}`."""
        return self._answer(await self._found(request, job_id))

    async def results(self, request: Request, job_id: str, offset: int, limit: int | None) -> Response:
        """`GET /v1/jobs/{id}/results`."""
        job = await self._found(request, job_id)
        end = job.total if limit is None else min(offset + limit, job.total)
        return StreamingResponse(self._lines(job_id, offset, end), media_type=documents.RESULTS_TYPE)

    async def file(self, request: Request, job_id: str, name: str) -> Response:
        """`GET /v1/jobs/{id}/files/{name}`."""
        named = _FILE.fullmatch(name)
        found = None
        if named is not None and await self._there(request, job_id) is not None:
            found = await self._jobs.file(job_id, int(named["position"]), name)
        if found is None:
            raise HttpProblem(HTTPStatus.NOT_FOUND, "not-found", "there is no such file of a job", "name")
        item, content = found
        assert item.result is not None
        headers = {"X-Seed": str(item.result.meta["seed"])}
        if item.result.media_type != Format.JSON.media_type:
            headers["Content-Disposition"] = f'attachment; filename="{name}"'
        if isinstance(content, bytes):
            return Response(content, headers=headers, media_type=item.result.media_type)
        return FileResponse(content, headers=headers, media_type=item.result.media_type)

    async def delete(self, request: Request, job_id: str, forget: bool) -> Response:
        """`DELETE /v1/jobs/{id}`."""
        deleted = None
        if _JOB.fullmatch(job_id):
            deleted = await self._jobs.delete(job_id, key_name(request), forget)
        if deleted is None:
            raise _no_such_job()
        if deleted.job is None:
            return Response(status_code=HTTPStatus.NO_CONTENT)
        return self._answer(deleted.job)

    async def _there(self, request: Request, job_id: str) -> Job | None:
        """The job, if it is the caller's."""
        return await self._jobs.get(job_id, key_name(request)) if _JOB.fullmatch(job_id) else None

    async def _found(self, request: Request, job_id: str) -> Job:
        job = await self._there(request, job_id)
        if job is None:
            raise _no_such_job()
        return job

    async def _lines(self, job_id: str, begin: int, end: int) -> AsyncIterator[bytes]:
        for start in range(begin, end, LINES):
            items = await self._jobs.results(job_id, start, min(LINES, end - start))
            yield b"".join(map(documents.result_line, items))

    @staticmethod
    def _answer(job: Job, status: HTTPStatus = HTTPStatus.OK) -> Response:
        headers = {} if job.ended else {"Retry-After": str(POLL_S)}
        if status is HTTPStatus.ACCEPTED:
            headers["Location"] = f"/v1/jobs/{job.id}"
        return JSONResponse(job_document(job), status, headers)


def add_jobs(app: FastAPI, answers: JobAnswers) -> None:
    """Add the routes."""

    @app.post("/v1/jobs", status_code=202, openapi_extra=documents.submission(), responses=documents.submitted())
    async def submit(request: Request) -> Response:
        """Keep a list of requests, one request, or a catalog with its songs, and dance them when there is time."""
        return await answers.submit(request)

    @app.get("/v1/jobs", responses=documents.described("A page of jobs.", documents.PAGE_SCHEMA, 422, 503))
    async def jobs(
        request: Request,
        cursor: Annotated[str | None, Query(pattern=f"^{_JOB.pattern}$", description="`next` of a page.")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most jobs of a page.")] = 20,
        state: Annotated[JobState | None, Query(description="Only jobs in this state.")] = None,
    ) -> Response:
        """Jobs, the newest first."""
        return await answers.page(request, cursor, limit, state)

    @app.get("/v1/jobs/{id}", responses=documents.described("The job.", documents.JOB_SCHEMA, 404, 422, 503))
    async def job(request: Request, id: JobId) -> Response:
        """State, counts and progress of a job."""
        return await answers.get(request, id)

    @app.get("/v1/jobs/{id}/results", responses=documents.lines_of_results())
    async def results(
        request: Request,
        id: JobId,
        offset: Annotated[int, Query(ge=0, le=MAX_POSITION, description="Requests to pass over.")] = 0,
        limit: Annotated[int | None, Query(ge=1, le=MAX_POSITION, description="Most lines; omitted: all.")] = None,
    ) -> Response:
        """One line of JSON a request, in their order; those that have not ended have neither response nor error."""
        return await answers.results(request, id, offset, limit)

    @app.get("/v1/jobs/{id}/files/{name}", responses=_file_answers())
    async def file(
        request: Request, id: JobId, name: Annotated[str, Path(description="From the results.", max_length=64)]
    ) -> Response:
        """One motion, in the format that its request asked for."""
        return await answers.file(request, id, name)

    @app.delete("/v1/jobs/{id}", responses=_deleted())
    async def delete(
        request: Request,
        id: JobId,
        forget: Annotated[bool, Query(description="Whether a job that has ended is removed; false: it stays.")] = True,
    ) -> Response:
        """Cancel a job that has not ended; forget one that has, with its files."""
        return await answers.delete(request, id, forget)


def _no_such_job() -> HttpProblem:
    return HttpProblem(HTTPStatus.NOT_FOUND, "not-found", "there is no such job", "id")


def _file_answers() -> dict[int | str, dict[str, Any]]:
    content: dict[str, Any] = {fmt.media_type: {} for fmt in FORMATS}
    return {200: {"description": "The motion.", "content": content}} | problems(404, 422, 503)


def _deleted() -> dict[int | str, dict[str, Any]]:
    gone: dict[int | str, dict[str, Any]] = {204: {"description": "The job is forgotten."}}
    return documents.described("The job, cancelled, or as it ended.", documents.JOB_SCHEMA, 404, 422, 503) | gone
