"""The HTTP interface: FastAPI routes over the pipeline, the same whether its stages run here or behind handles."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response

from choreo.errors import ChoreoError, InvalidInput
from choreo.generators.spec import GeneratorSpec
from choreo.motion.formats.formats import Format
from choreo.motion.skeleton import FPS
from serving.errors import NotReady
from serving.http import legacy, metrics, tracing
from serving.http import openapi as documents
from serving.http.access_log import AccessLog, access_log
from serving.http.audio_url import AudioFetcher, check_url
from serving.http.body import ATTACHMENTS, read_generate, read_json, read_search
from serving.http.job_metrics import JobWatch
from serving.http.jobs import JobAnswers, add_jobs, make_jobs
from serving.http.keys import KeyCheck, KeyRing, caller_of, motion_of
from serving.http.middleware import RequestContextMiddleware
from serving.http.mmcp.door import PREFIX, Mmcp
from serving.http.notes import notes_header
from serving.http.phrase_documents import found_document, library_document
from serving.http.problems import install_handlers
from serving.http.readiness import Readiness
from serving.http.stage_metrics import StageWatch
from serving.http.studio import add_studio
from serving.http.uploads import BodyLimit, Uploads, slow_upload
from serving.pipeline.admission import Admission
from serving.pipeline.contracts import Stages
from serving.pipeline.fields import DanceFields, GenerateFields, SearchFields, parse, parse_fields
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.request import Attachments, MotionRequest
from serving.pipeline.results import DeliveredFile, Result
from serving.pipeline.runs import RunService
from serving.pipeline.validation import make_search, validated_request
from serving.settings import Settings
from serving.util.threads import run_in_thread_unless_fast
from serving.util.tracing import make_provider, use
from serving.versions import versions

T = TypeVar("T")

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
        self._uploads = Uploads(settings.max_large_uploads)
        self.metrics = metrics.Metrics()
        fetch = (fetcher or AudioFetcher(settings)).fetch
        self._runs = RunService(self._admission, fetch, REQUEST_FIELDS, self.metrics)
        self._versions = versions()
        self.keys = KeyRing(settings)
        self._readiness = Readiness(self._canaries)
        self.metrics.watch(self._admission, documents.version())
        self.metrics.watch_encoder(stages.encoder)
        self.jobs = make_jobs(
            settings,
            self._admission,
            self._runs,
            self._pipeline,
            self._motion_request,
            self.metrics,
            self._versions,
            self.keys,
        )
        self._stage_watch, self._job_watch = StageWatch(stages), JobWatch(self.jobs)
        self.metrics.watch_more(self._stage_watch)
        self.metrics.watch_more(self._job_watch)
        self.job_answers = JobAnswers(self.jobs, settings, self._uploads)

    async def generate(self, request: Request) -> Response:
        """`POST /v1/generate`."""
        values, parts = await self._upload(request, read_generate)
        with self._admission.place():
            quick = parts == NO_ATTACHMENTS
            wanted, url = await run_in_thread_unless_fast(
                quick, self._motion_request, values, parts, request.state.request_id
            )
            return await self._danced(request, wanted, url, self._delivered)

    async def generate_legacy(self, request: Request) -> Response:
        """`POST /generate`, the documents' endpoint."""
        values = legacy.translate(await self._upload(request, read_json))
        with self._admission.place():
            wanted, url = self._motion_request(values, NO_ATTACHMENTS, request.state.request_id)
            return await self._danced(request, wanted, url, self._generated_legacy)

    async def search(self, request: Request) -> Response:
        """`POST /v1/phrases/search`."""
        values, parts = await self._upload(request, read_search)
        with self._admission.place():
            quick = parts == NO_ATTACHMENTS
            wanted, top_n, url = await run_in_thread_unless_fast(
                quick, self._search, values, parts, request.state.request_id
            )

            async def found(wanted: MotionRequest) -> Response:
                encoded, hits = await self._pipeline.search(wanted, top_n)
                return JSONResponse(found_document(wanted, encoded, hits), headers=notes_header(encoded.notes))

            return await self._answer(request, wanted, url, found)

    async def library(self) -> dict[str, Any]:
        """`GET /v1/phrases`."""
        return {"library": library_document(await self._stages.retriever.library())}

    async def specs(self) -> dict[str, GeneratorSpec]:
        """The served generators, the default one first."""
        return await self._pipeline.models()

    async def models(self) -> list[dict[str, Any]]:
        """`GET /v1/models`."""
        specs = await self.specs()
        return [documents.model_document(spec, default=i == 0) for i, spec in enumerate(specs.values())]

    def version(self) -> dict[str, Any]:
        """`GET /v1/version`."""
        return {"version": documents.version(), "versions": self._versions}

    async def metrics_text(self) -> bytes:
        """`GET /metrics`."""
        await asyncio.gather(self._stage_watch.look(), self._job_watch.look())
        return self.metrics.text()

    async def ready(self) -> None:
        """Raise unless the stages answered a canary just now."""
        self._admission.check_open()
        await self._readiness.check()

    async def drain(self, seconds: float) -> bool:
        """Refuse new requests, and wait for those inside, but no longer than the time; whether they have ended."""
        done, _ = await asyncio.gather(self._admission.drain(seconds), self.jobs.drain(seconds))
        return done

    async def _canaries(self) -> None:
        stages = self._stages
        await stages.sampler.warm_up()
        specs = (await self._pipeline.models()).values()
        encoders = [stages.encoder.warm_up(spec) for spec in specs]
        # One library serves all; it is opened for queries of the default generator.
        await asyncio.gather(*encoders, stages.retriever.warm_up(next(iter(specs))), stages.finisher.warm_up())

    async def _upload(self, request: Request, read: Callable[[Request], Awaitable[T]]) -> T:
        """A body, unless it arrives too slowly, or nobody could make anything of it now."""
        self._admission.check_space()
        try:
            with self._uploads.place(request):
                async with asyncio.timeout(self._settings.request_timeout_s):
                    return await read(request)
        except TimeoutError as error:
            raise slow_upload() from error

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
        work: Callable[[MotionRequest], Awaitable[T]],
    ) -> T:
        """The outcome of a run, which is cancelled as soon as the caller has left."""
        run = self._runs.submit(request, work, url)
        try:
            return await _while_connected(http, self._runs.wait(run))
        finally:
            await self._runs.cancel(run)

    async def _danced(
        self,
        http: Request,
        request: MotionRequest,
        url: str | None,
        work: Callable[[MotionRequest], Awaitable[tuple[Response, Result | DeliveredFile]]],
    ) -> Response:
        """The answer with a motion, which counts for its caller and in the metrics."""
        frames, began = request.known_sampled_frames, time.perf_counter()
        with motion_of(http, None if frames is None else frames / FPS):
            response, made = await self._answer(http, request, url, work)
        caller = caller_of(http)
        if caller is not None and frames is None:
            caller.made(request.num_samples * made.num_frames / FPS)
        self.metrics.generated(made)
        self.metrics.in_time(made, time.perf_counter() - began)
        return response

    async def dances(self, http: Request, wanted: Sequence[dict[str, Any]]) -> list[Result]:
        """One dance of each request's values, made side by side; all stop if one fails or the caller leaves."""

        async def dance(values: dict[str, Any]) -> Result:
            with self._admission.place():
                request, _ = self._motion_request(values, NO_ATTACHMENTS, http.state.request_id)
                run = self._runs.submit(request, self._pipeline.run, None)
                try:
                    result = await self._runs.wait(run)
                finally:
                    await self._runs.cancel(run)
                self.metrics.generated(result)
                return result

        async def all_of_them() -> list[Result]:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(dance(values)) for values in wanted]
            return [task.result() for task in tasks]

        try:
            with motion_of(http, sum(values["duration"] for values in wanted)):
                return await _while_connected(http, all_of_them())
        except* ChoreoError as errors:
            raise _first(errors) from errors

    async def _generated_legacy(self, request: MotionRequest) -> tuple[Response, Result]:
        """The motion as the documents' endpoint answers."""
        result = await self._pipeline.run(request)
        return await legacy.answer(result), result

    async def _delivered(self, request: MotionRequest) -> tuple[Response, DeliveredFile]:
        """The motion in the format that was asked for."""
        about = {"request_id": request.request_id, "versions": self._versions} if request.format is Format.JSON else {}
        done = await self._pipeline.deliver(request, about)
        timing = ", ".join(f"{stage};dur={1000 * seconds:.1f}" for stage, seconds in done.seconds.items())
        headers = {"X-Seed": str(request.seed), "Server-Timing": timing} | notes_header(done.notes)
        if request.format is not Format.JSON:
            name = f"motion-{request.seed}{request.format.suffix}"
            headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return Response(done.body, headers=headers, media_type=request.format.media_type), done


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
    app.state.drain = service.drain
    app.state.jobs = service.jobs
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes, min_rate=settings.min_upload_rate)
    if service.keys.on:
        app.add_middleware(KeyCheck, ring=service.keys, metrics_are_open=settings.open_metrics)
    app.add_middleware(RequestContextMiddleware, metrics=service.metrics, proxied=proxied)
    if settings.access_log is not None:
        app.add_middleware(AccessLog, log=access_log(settings.access_log, settings.log_format == "json"))
    if (provider := make_provider(os.environ, "ingress")) is not None:
        use(provider)
        app.add_middleware(tracing.TraceRequests, provider=provider)
        app.state.drain = tracing.flushed_after(service.drain, provider)
    if settings.cors_origins:  # outermost, so that pages can read errors as well
        app.add_middleware(CORSMiddleware, allow_origins=settings.cors_origins, **documents.CORS)
    install_handlers(app)
    _add_generate(app, service)
    _add_phrases(app, service)
    add_jobs(app, service.job_answers)
    _add_probes(app, service)
    add_studio(app, settings, service.keys.on)
    app.mount(PREFIX, Mmcp(settings, service.specs, service.dances))
    return app


def _add_generate(app: FastAPI, service: Service) -> None:
    @app.post("/v1/generate", openapi_extra=documents.generate_body(), responses=documents.generate_answers())
    async def generate(request: Request) -> Response:
        """Make a dance from a song, its features, a prompt, or a song and a prompt."""
        return await service.generate(request)

    @app.post("/generate", openapi_extra=legacy.body(), responses=legacy.answers())
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
            raise NotReady(f"not ready: {error}") from error
        return JSONResponse({"status": "ready"})

    @app.get("/v1/version")
    async def version() -> dict[str, Any]:
        """Version of the program, and of the packages that it runs on."""
        return service.version()

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics_text() -> Response:
        """Prometheus metrics."""
        return Response(await service.metrics_text(), media_type=metrics.CONTENT_TYPE)


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The outcome of work, which is cancelled as soon as the caller has left.

    Raises:
        ClientDisconnect: the caller has.
    """
    gone, doing = asyncio.ensure_future(_disconnected(request)), asyncio.ensure_future(work)
    try:
        await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientDisconnect
        return await doing
    finally:
        for task in (gone, doing):
            task.cancel()
        await asyncio.gather(gone, doing, return_exceptions=True)


def _first(errors: BaseExceptionGroup[ChoreoError]) -> ChoreoError:
    """The first error of a group, however deep."""
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _disconnected(request: Request) -> None:
    """Return when the caller has closed the connection; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
