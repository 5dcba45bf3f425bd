"""The HTTP surface: FastAPI routes over the pipeline, the same whether its stages run here or behind handles."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from choreo.errors import BackendUnavailable, ChoreoError, DeadlineExceeded, InvalidInput
from choreo.motion.formats.formats import Format
from serving.http import legacy, metrics
from serving.http import openapi as documents
from serving.http.admission import Admission
from serving.http.audio_url import AudioFetcher, check_url
from serving.http.body import ATTACHMENTS, BodyLimit, read_generate, read_json, read_search
from serving.http.middleware import RequestContextMiddleware
from serving.http.phrase_documents import found_document, library_document
from serving.http.problems import HttpProblem, install_handlers
from serving.pipeline.contracts import ServingStages
from serving.pipeline.pipeline import Delivery
from serving.pipeline.request import (
    Attachments,
    DanceFields,
    GenerateFields,
    MotionRequest,
    SearchFields,
    make_search,
    parse,
    parse_fields,
    validated_request,
)
from serving.settings import Settings
from serving.util.threads import run_in_thread_unless_fast
from serving.versions import versions

T = TypeVar("T")

GRACE_S = 1.0
"""What a stage gets beyond the deadline to notice it by itself, with a better message."""
READY_FOR_S = 1.0
"""How long an answer of the canary stands, so that probes cost nothing."""
REQUEST_FIELDS = frozenset({*GenerateFields.model_fields, *ATTACHMENTS})
NOTHING = Attachments()
TO_COME = b"\0"
"""Stands for a song that is fetched only once everything else about the request is known to be right."""


class Service:
    """Turns requests into answers: admission, validation, the pipeline, rendering."""

    def __init__(self, settings: Settings, stages: ServingStages, fetcher: AudioFetcher | None = None) -> None:
        self._settings = settings
        self._stages = stages
        self._pipeline = Delivery(stages)
        self._fetcher = fetcher or AudioFetcher(settings)
        self._admission = Admission(settings.max_ongoing_requests, settings.max_queued_requests)
        self._versions = versions()
        self._probing = asyncio.Lock()
        self._ready_until = 0.0
        self.metrics = metrics.Metrics()

    async def generate(self, request: Request) -> Response:
        """`POST /v1/generate`."""
        with self._admission.place():
            values, parts = await self._upload(read_generate(request))
            job, url = await run_in_thread_unless_fast(
                parts == NOTHING, self._job, values, parts, request.state.request_id
            )
            return await _unless_gone(request, self._work(job, url, self._delivered))

    async def generate_legacy(self, request: Request) -> Response:
        """`POST /generate`, the documents' endpoint."""
        with self._admission.place():
            values = legacy.translate(await self._upload(read_json(request)))
            job, url = self._job(values, NOTHING, request.state.request_id)
            return await _unless_gone(request, self._work(job, url, self._generated_legacy))

    async def search(self, request: Request) -> Response:
        """`POST /v1/phrases/search`."""
        with self._admission.place():
            values, parts = await self._upload(read_search(request))
            job, top_n, url = await run_in_thread_unless_fast(
                parts == NOTHING, self._search, values, parts, request.state.request_id
            )

            async def answer(job: MotionRequest) -> Response:
                return JSONResponse(found_document(job, *await self._pipeline.search(job, top_n)))

            return await _unless_gone(request, self._work(job, url, answer))

    async def library(self) -> dict[str, Any]:
        """`GET /v1/phrases`."""
        return {"library": library_document(await self._stages.library())}

    async def models(self) -> list[dict[str, Any]]:
        """`GET /v1/models`."""
        specs = await self._stages.models()
        return [documents.model_document(spec, default=i == 0) for i, spec in enumerate(specs.values())]

    async def ready(self) -> None:
        """Raise unless the stages answered a canary just now."""
        async with self._probing:
            if time.monotonic() >= self._ready_until:
                await self._stages.ready()
                self._ready_until = time.monotonic() + READY_FOR_S

    async def _upload(self, reading: Coroutine[Any, Any, T]) -> T:
        """A body, unless it trickles in too slowly: it holds a place in the house."""
        try:
            async with asyncio.timeout(self._settings.request_timeout_s):
                return await reading
        except TimeoutError as error:
            message = "the request's body did not arrive in time"
            raise HttpProblem(HTTPStatus.REQUEST_TIMEOUT, "slow-upload", message, "body") from error

    def _job(self, values: dict[str, Any], parts: Attachments, request_id: str) -> tuple[MotionRequest, str | None]:
        """The job, and the address of its song if that is still to be fetched. Blocking if there are parts to read."""
        fields = parse_fields(values)
        parts = self._expecting(fields, parts)
        return replace(validated_request(fields, parts, self._settings), request_id=request_id), fields.audio_url

    def _search(
        self, values: dict[str, Any], parts: Attachments, request_id: str
    ) -> tuple[MotionRequest, int, str | None]:
        """The job whose phrases are searched for, how many, and an address as `_job` gives it. Blocking."""
        fields = parse(SearchFields, values)
        job, top_n = make_search(fields, self._expecting(fields, parts), self._settings)
        return replace(job, request_id=request_id), top_n, fields.audio_url

    def _expecting(self, fields: DanceFields, parts: Attachments) -> Attachments:
        """The parts, with a place for a song that is still to be fetched."""
        if fields.audio_url is None:
            return parts
        if parts.audio is not None:
            raise InvalidInput("audio_url", "give one song: as `audio` or by address, not both")
        check_url(fields.audio_url, self._settings)
        return replace(parts, audio=TO_COME)

    async def _work(
        self, job: MotionRequest, url: str | None, answer: Callable[[MotionRequest], Coroutine[Any, Any, Response]]
    ) -> Response:
        try:
            async with (
                asyncio.timeout(max(job.deadline - time.time(), 0) + GRACE_S),
                self._admission.turn(job.deadline),
            ):
                if url is not None:
                    job = replace(job, audio=await self._fetcher.fetch(url))
                return await answer(job)
        except DeadlineExceeded:
            raise
        except InvalidInput as error:
            if error.field.split(".")[0] in REQUEST_FIELDS:
                raise
            raise ChoreoError(f"a stage refused what another one made: {error}") from error
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed in a stage") from error

    async def _generated_legacy(self, job: MotionRequest) -> Response:
        """The motion as the documents' endpoint answers."""
        result = await self._pipeline.run(job)
        response = await legacy.answer(job, result)
        self.metrics.generated(result)
        return response

    async def _delivered(self, job: MotionRequest) -> Response:
        """The motion in the format that was asked for."""
        about = {"request_id": job.request_id, "versions": self._versions} if job.format is Format.JSON else {}
        done = await self._pipeline.deliver(job, about)
        timing = ", ".join(f"{stage};dur={1000 * seconds:.1f}" for stage, seconds in done.seconds.items())
        headers = {"X-Seed": str(job.seed), "Server-Timing": timing}
        if job.format is not Format.JSON:
            name = f"motion-{job.seed}{job.format.suffix}"
            headers["Content-Disposition"] = f'attachment; filename="{name}"'
        self.metrics.generated(done)
        return Response(done.body, headers=headers, media_type=job.format.media_type)


def create_app(
    settings: Settings, stages: ServingStages, fetcher: AudioFetcher | None = None, proxied: bool = False
) -> FastAPI:
    """The ASGI application.

    Args:
        settings: limits.
        stages: where the work is done.
        fetcher: how songs are fetched by address; None: over the network, as far as the settings allow.
        proxied: whether a proxy in front adds X-Request-Id to requests and answers.
    """
    service = Service(settings, stages, fetcher)
    app = FastAPI(title="choreo", version=documents.version(), description=documents.DESCRIPTION)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(RequestContextMiddleware, metrics=service.metrics, proxied=proxied)
    install_handlers(app)
    _add_generate(app, service)
    _add_phrases(app, service)
    _add_probes(app, service)
    return app


def _add_generate(app: FastAPI, service: Service) -> None:
    @app.post("/v1/generate", openapi_extra=documents.generate_body(), responses=documents.generate_answers())
    async def generate(request: Request) -> Response:
        """Make a dance from a song, its features, a prompt, or a song and a prompt."""
        return await service.generate(request)

    @app.post("/generate", openapi_extra=legacy.body(), responses=documents.problems())
    async def generate_legacy(request: Request) -> Response:
        """The request and answer of the first version of this interface."""
        return await service.generate_legacy(request)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The served models, the default one first."""
        return {"models": await service.models()}


def _add_phrases(app: FastAPI, service: Service) -> None:
    @app.post("/v1/phrases/search", openapi_extra=documents.search_body(), responses=documents.problems())
    async def search(request: Request) -> Response:
        """The phrases that a song, its features or a prompt would be given as examples, best first."""
        return await service.search(request)

    @app.get("/v1/phrases", responses=documents.problems(503))
    async def library() -> dict[str, Any]:
        """The phrase library in use: version, size, licences, text encoder and index; null where there is none."""
        return await service.library()


def _add_probes(app: FastAPI, service: Service) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """This process is alive."""
        return {"status": "alive"}

    @app.get("/readyz", responses=documents.problems(503))
    async def readyz() -> Response:
        """Every stage answered a canary just now."""
        try:
            await service.ready()
        except Exception as error:
            raise BackendUnavailable(f"not ready: {error}") from error
        return JSONResponse({"status": "ready"})

    @app.get("/metrics")
    async def metrics_text() -> Response:
        """Prometheus metrics."""
        return Response(service.metrics.text(), media_type=metrics.CONTENT_TYPE)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The outcome of the work, which is cancelled as soon as the caller has left."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    """Return when the caller has closed the connection; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
