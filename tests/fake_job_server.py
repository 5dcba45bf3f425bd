"""A server that plays the contract of `/v1/jobs` and does not dance; it can lose answers and be away."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

PROBLEM = "application/problem+json"


@dataclass
class FakeJob:
    """A job: its rows, its uploads, and the states that it goes through, one each time that it is looked at."""

    id: str
    rows: list[dict[str, Any]]
    uploads: dict[str, bytes]
    webhook: str | None
    key: str | None
    states: list[str]

    def look(self) -> str:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


@dataclass
class FakeJobServer:
    """The ASGI application.

    Attributes:
        states: of the next jobs.
        lose, lose_deletes: how many of the next answers, and of those to DELETE, are lost on their way.
        away: how many of the next requests find the server restarting.
        body: of every file.
        asked: (method, path) of every request that arrived.
    """

    states: tuple[str, ...] = ("queued", "running", "succeeded")
    lose: int = 0
    lose_deletes: int = 0
    away: int = 0
    body: bytes = b"HIERARCHY"
    broken_file: bool = False
    jobs: dict[str, FakeJob] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._app = Starlette(
            routes=[
                Route("/v1/jobs", self.submit, methods=["POST"]),
                Route("/v1/jobs", self.page, methods=["GET"]),
                Route("/v1/jobs/{id}", self.get, methods=["GET"]),
                Route("/v1/jobs/{id}", self.delete, methods=["DELETE"]),
                Route("/v1/jobs/{id}/results", self.results, methods=["GET"]),
                Route("/v1/jobs/{id}/files/{name}", self.file, methods=["GET"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append((scope["method"], scope["path"]))
        if self.away:
            self.away -= 1
            await problem(503, "backend-unavailable", "restarting", {"Retry-After": "0"})(scope, receive, send)
            return
        counter = "lose_deletes" if scope["method"] == "DELETE" else "lose"
        if not getattr(self, counter):
            await self._app(scope, receive, send)
            return
        setattr(self, counter, getattr(self, counter) - 1)

        async def half(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [(b"content-length", b"9999")]
                await send({"type": "http.response.start", "status": message["status"], "headers": headers})
                await send({"type": "http.response.body", "body": b"{", "more_body": True})

        await self._app(scope, receive, half)
        # The server closes the connection, because the answer is not whole.

    async def submit(self, request: Request) -> Response:
        uploads: dict[str, bytes] = {}
        if request.headers["content-type"] == "application/json":
            document = await request.json()
            rows, webhook = document["requests"], document.get("webhook", {}).get("url")
        else:
            async with request.form() as form:
                parts = {name: value for name, value in form.items() if not isinstance(value, str)}
                uploads = {name: await part.read() for name, part in parts.items()}
                webhook = form.get("webhook_url")
            lines = uploads.pop("catalog").split(b"\n")
            for number, line in enumerate(lines, 1):
                if line and json.loads(line)["body"].get("num_steps") == 0:
                    return problem(422, "invalid-input", "is 0", field=f"catalog[{number}].body.num_steps")
            rows = [json.loads(line) for line in lines if line]
        key = request.headers.get("idempotency-key")
        found = next((job for job in self.jobs.values() if key and job.key == key), None)
        if found is not None and found.rows != rows:
            return problem(409, "idempotency-conflict", "was used before", field="Idempotency-Key")
        if found is None:
            hook = str(webhook) if webhook else None
            found = FakeJob(f"job-{len(self.jobs)}", rows, uploads, hook, key, [*self.states])
            self.jobs[found.id] = found
        return JSONResponse(document_of(found, found.states[0]), 202)

    async def page(self, request: Request) -> Response:
        state, limit = request.query_params.get("state"), 2
        ids = sorted(i for i, job in self.jobs.items() if state in (None, job.states[0]))[::-1]
        if cursor := request.query_params.get("cursor"):
            ids = [i for i in ids if i < cursor]
        documents = [document_of(self.jobs[i], self.jobs[i].states[0]) for i in ids[:limit]]
        return JSONResponse({"jobs": documents, "next": ids[limit - 1] if len(ids) > limit else None})

    async def get(self, request: Request) -> Response:
        if (job := self.jobs.get(request.path_params["id"])) is None:
            return problem(404, "not-found", "there is no such job", field="id")
        return JSONResponse(document_of(job, job.look()), headers={"Retry-After": "0"})

    async def delete(self, request: Request) -> Response:
        job = self.jobs[request.path_params["id"]]
        if job.states[0] in ("succeeded", "failed", "cancelled"):
            if request.query_params.get("forget") == "false":
                return JSONResponse(document_of(job, job.states[0]))
            del self.jobs[job.id]
            return Response(status_code=204)
        job.states = ["cancelled"]
        return JSONResponse(document_of(job, "cancelled"))

    async def results(self, request: Request) -> Response:
        job, query = self.jobs[request.path_params["id"]], request.query_params
        begin, count = int(query["offset"]), int(query["limit"])
        lines = [result(job, i, self.body) for i in range(len(job.rows))][begin : begin + count]
        return Response(b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    async def file(self, request: Request) -> Response:
        return Response(b"other" if self.broken_file else self.body, headers={"X-Seed": "1"})


def document_of(job: FakeJob, state: str) -> dict[str, Any]:
    ended = state in ("succeeded", "failed", "cancelled")
    return {
        "id": job.id, "state": state, "counts": {"total": len(job.rows)}, "progress": float(ended),
        "created_at": "2026-01-01T00:00:00.000Z", "links": {},
    }  # fmt: skip


def result(job: FakeJob, index: int, body: bytes) -> dict[str, Any]:
    """Every third request failed."""
    base = {"index": index, "custom_id": job.rows[index].get("custom_id")}
    if index % 3 == 2:
        error = {"status": 422, "detail": "audio: is no song", "field": "audio"}
        return base | {"state": "failed", "response": {"status_code": 422, "files": [], "meta": {}}, "error": error}
    file = {"name": f"{index:06}.bvh", "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    response = {"status_code": 200, "files": [file], "meta": {"seed": index}}
    return base | {"state": "succeeded", "response": response, "error": None}


def problem(
    status: int, kind: str, detail: str, headers: dict[str, str] | None = None, field: str | None = None
) -> Response:
    document = {"type": f"urn:choreo:problem:{kind}", "status": status, "detail": detail, "field": field}
    return Response(json.dumps(document), status, headers, media_type=PROBLEM)
