"""The HTTP interface: FastAPI routes over the pipeline, the same whether its stages run here or behind handles."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from choreo.errors import BackendUnavailable, InvalidInput
from choreo.motion.formats.formats import Format
from serving.http import legacy, metrics
from serving.http import openapi as documents
from serving.http.audio_url import AudioFetcher, check_url
from serving.http.body import ATTACHMENTS, BodyLimit, read_generate, read_json, read_search
from serving.http.middleware import RequestContextMiddleware
from serving.http.phrase_documents import found_document, library_document
from serving.http.problems import HttpProblem, install_handlers
from serving.pipeline.admission import Admission
from serving.pipeline.contracts import Stages
from serving.pipeline.pipeline import Pipeline
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
from serving.pipeline.runs import RunService
from serving.settings import Settings
from serving.util.threads import run_in_thread_unless_fast
from serving.versions import versions

T = TypeVar("T")

READY_FOR_S = 1.0
"""How long an answer of the canary stands, so that probes cost nothing."""
READY_S = 30.0
"""Longest time for the canaries of all stages; the first ones load what the stages need."""
REQUEST_FIELDS = frozenset({*GenerateFields.model_fields, *ATTACHMENTS})
NO_ATTACHMENTS = Attachments()
NOT_FETCHED = b"\0"
"""Stands for a song that is fetched once everything else about the request has been validated."""


class Service:
    """Turns requests into answers: admission, validation, the pipeline, rendering."""

    def __init__(self, settings: Settings, stages: Stages, fetcher: AudioFetcher | None = None) -> None:
        self._settings = settings
        self._stages = stages
        self._pipeline = Pipeline(stages)
        self._admission = Admission(settings.max_ongoing_requests, settings.max_queued_requests)
        self._runs = RunService(self._admission, (fetcher or AudioFetcher(settings)).fetch, REQUEST_FIELDS)
        self._versions = versions()
        self._probing = asyncio.Lock()
        self._ready_until = 0.0
        self.metrics = metrics.Metrics()

    async def generate(self, request: Request) -> Response:
        """`POST /v1/generate`."""
        with self._admission.place():
            values, parts = await self._upload(read_generate(request))
            quick = parts == NO_ATTACHMENTS
            wanted, url = await run_in_thread_unless_fast(
                quick, self._motion_request, values, parts, request.state.request_id
            )
            return await self._answer(request, wanted, url, self._delivered)

    async def generate_legacy(self, request: Request) -> Response:
        """`POST /generate`, the documents' endpoint."""
        with self._admission.place():
            values = legacy.translate(await self._upload(read_json(request)))
            wanted, url = self._motion_request(values, NO_ATTACHMENTS, request.state.request_id)
            return await self._answer(request, wanted, url, self._generated_legacy)

    async def search(self, request: Request) -> Response:
        """`POST /v1/phrases/search`."""
        with self._admission.place():
            values, parts = await self._upload(read_search(request))
            quick = parts == NO_ATTACHMENTS
            wanted, top_n, url = await run_in_thread_unless_fast(
                quick, self._search, values, parts, request.state.request_id
            )

            async def found(wanted: MotionRequest) -> Response:
                return JSONResponse(found_document(wanted, *await self._pipeline.search(wanted, top_n)))

            return await self._answer(request, wanted, url, found)

    async def library(self) -> dict[str, Any]:
        """`GET /v1/phrases`."""
        return {"library": library_document(await self._stages.retriever.library())}

    async def models(self) -> list[dict[str, Any]]:
        """`GET /v1/models`."""
        specs = await self._pipeline.models()
        return [documents.model_document(spec, default=i == 0) for i, spec in enumerate(specs.values())]

    async def ready(self) -> None:
        """Raise unless the stages answered a canary just now."""
        async with self._probing:
            if time.monotonic() >= self._ready_until:
                await self._canaries()
                self._ready_until = time.monotonic() + READY_FOR_S

    async def _canaries(self) -> None:
        stages = self._stages
        try:
            async with asyncio.timeout(READY_S):
                await stages.sampler.warm_up()
                specs = (await self._pipeline.models()).values()
                encoders = [stages.encoder.warm_up(spec) for spec in specs]
                # One library serves all; it is opened for queries of the default generator.
                await asyncio.gather(*encoders, stages.retriever.warm_up(next(iter(specs))), stages.finisher.warm_up())
        except TimeoutError as error:
            raise BackendUnavailable("a stage did not answer its canary in time") from error

    async def _upload(self, reading: Coroutine[Any, Any, T]) -> T:
        """A body, unless it arrives too slowly: it occupies a concurrency slot."""
        try:
            async with asyncio.timeout(self._settings.request_timeout_s):
                return await reading
        except TimeoutError as error:
            message = "the request's body did not arrive in time"
            raise HttpProblem(HTTPStatus.REQUEST_TIMEOUT, "slow-upload", message, "body") from error

    def _motion_request(
        self, values: dict[str, Any], parts: Attachments, request_id: str
    ) -> tuple[MotionRequest, str | None]:
        """The request, and the address of its song if that is still to be fetched. Blocking if there are parts."""
        fields = parse_fields(values)
        parts = self._expecting(fields, parts)
        return replace(validated_request(fields, parts, self._settings), request_id=request_id), fields.audio_url

    def _search(
        self, values: dict[str, Any], parts: Attachments, request_id: str
    ) -> tuple[MotionRequest, int, str | None]:
        """The request whose phrases are searched for, how many, and the address of its song. Blocking."""
        fields = parse(SearchFields, values)
        wanted, top_n = make_search(fields, self._expecting(fields, parts), self._settings)
        return replace(wanted, request_id=request_id), top_n, fields.audio_url

    def _expecting(self, fields: DanceFields, parts: Attachments) -> Attachments:
        """The parts, with a place for a song that is still to be fetched."""
        if fields.audio_url is None:
            return parts
        if parts.audio is not None:
            raise InvalidInput("audio_url", "give one song: as `audio` or by address, not both")
        check_url(fields.audio_url, self._settings)
        return replace(parts, audio=NOT_FETCHED)

    async def _answer(
        self,
        http: Request,
        request: MotionRequest,
        url: str | None,
        work: Callable[[MotionRequest], Awaitable[Response]],
    ) -> Response:
        """The outcome of a run, which is cancelled as soon as the caller has left."""
        run = self._runs.submit(request, work, url)
        gone = asyncio.ensure_future(_disconnected(http))
        try:
            await asyncio.wait({run.task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not run.task.done():
                raise ClientDisconnect
            return await self._runs.wait(run)
        finally:
            gone.cancel()
            await self._runs.cancel(run)
            await asyncio.gather(gone, return_exceptions=True)

    async def _generated_legacy(self, request: MotionRequest) -> Response:
        """The motion as the documents' endpoint answers."""
        result = await self._pipeline.run(request)
        response = await legacy.answer(result)
        self.metrics.generated(result)
        return response

    async def _delivered(self, request: MotionRequest) -> Response:
        """The motion in the format that was asked for."""
        about = {"request_id": request.request_id, "versions": self._versions} if request.format is Format.JSON else {}
        done = await self._pipeline.deliver(request, about)
        timing = ", ".join(f"{stage};dur={1000 * seconds:.1f}" for stage, seconds in done.seconds.items())
        headers = {"X-Seed": str(request.seed), "Server-Timing": timing}
        if request.format is not Format.JSON:
            name = f"motion-{request.seed}{request.format.suffix}"
            headers["Content-Disposition"] = f'attachment; filename="{name}"'
        self.metrics.generated(done)
        return Response(done.body, headers=headers, media_type=request.format.media_type)


def create_app(
    settings: Settings, stages: Stages, fetcher: AudioFetcher | None = None, proxied: bool = False
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


async def _disconnected(request: Request) -> None:
    """Return when the caller has closed the connection; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
