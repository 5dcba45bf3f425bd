"""What the OpenAPI document says about jobs, and the lines of results."""

import json
from http import HTTPStatus
from typing import Any, Final

from serving.http.openapi import FORM, generate_body, problems
from serving.jobs.records import Item, JobState

RESULTS_TYPE: Final = "application/x-ndjson"
_STATES: Final = [str(state) for state in JobState]
_TIME: Final = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}
_COUNTS: Final = ("total", "queued", "running", "succeeded", "failed", "cancelled")
JOB_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["id", "state", "counts", "progress", "created_at", "links"],
    "properties": {
        "id": {"type": "string"},
        "state": {"type": "string", "enum": _STATES},
        "counts": {"type": "object", "properties": {name: {"type": "integer"} for name in _COUNTS}},
        "progress": {"type": "number", "description": "Share of the requests that have ended."},
        "created_at": {"type": "string", "format": "date-time"},
        "started_at": _TIME,
        "ended_at": _TIME,
        "bytes": {"type": "integer", "description": "Of its songs and results."},
        "webhook": {"anyOf": [{"type": "object"}, {"type": "null"}]},
        "links": {"type": "object"},
    },
}
PAGE_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["jobs", "next"],
    "properties": {
        "jobs": {"type": "array", "items": JOB_SCHEMA},
        "next": {
            "anyOf": [{"type": "string"}, {"type": "null"}],
            "description": "`cursor` of the next page; null: there is none.",
        },
    },
}
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key and body give the same job; another body is refused.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"},
}
_HOOK: Final = {"type": "object", "required": ["url"], "properties": {"url": {"type": "string", "format": "uri"}}}


def submission() -> dict[str, Any]:
    """The request of `POST /v1/jobs`."""
    content = generate_body()["requestBody"]["content"]
    one = content["application/json"]["schema"]
    row = {
        "type": "object",
        "required": ["body"],
        "additionalProperties": False,
        "properties": {"custom_id": {"type": "string", "minLength": 1, "maxLength": 256}, "body": one},
    }
    many = {
        "type": "object",
        "required": ["requests"],
        "additionalProperties": False,
        "properties": {
            "requests": {"type": "array", "minItems": 1, "items": {"anyOf": [one, row]}},
            "webhook": _HOOK,
        },
    }
    single = one | {"properties": one["properties"] | {"webhook": _HOOK}}
    form = content[FORM]["schema"]
    more = {
        "webhook_url": {"type": "string", "format": "uri"},
        "catalog": {
            "type": "string",
            "format": "binary",
            "description": "JSON lines of custom_id and body; songs are named like the parts that hold them.",
        },
    }
    catalog = form | {"properties": form["properties"] | more, "additionalProperties": True}
    bodies = {"application/json": {"schema": {"anyOf": [many, single]}}, FORM: {"schema": catalog}}
    return {"parameters": [_KEY], "requestBody": {"required": True, "content": bodies}}


def submitted() -> dict[int | str, dict[str, Any]]:
    """The answers of `POST /v1/jobs`."""
    headers = {
        "Location": {"schema": {"type": "string"}, "description": "Where the job is found."},
        "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds until it is worth a look."},
    }
    kept = {"headers": headers, **_json(JOB_SCHEMA)}
    again = {"description": "The job that was submitted with this key before, which has ended."} | kept
    refused = problems(408, 409, 413, 415, 422, 429, 500, 501, 503, 507)
    return {202: {"description": "The job is kept."} | kept, 200: again} | refused


def described(description: str, schema: dict[str, Any], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """An answer in JSON, and the problems that may take its place."""
    return {200: {"description": description, **_json(schema)}} | problems(*statuses)


def lines_of_results() -> dict[int | str, dict[str, Any]]:
    """The answers of `GET /v1/jobs/{id}/results`."""
    content = {RESULTS_TYPE: {"schema": {"type": "string"}}}
    return {200: {"description": "One line of JSON a request, in their order.", "content": content}} | problems(
        404, 422, 503
    )


def result_line(item: Item) -> bytes:
    """One request of a job, as far as it has got."""
    response: dict[str, Any] | None = None
    if item.result is not None:
        result = item.result
        file = {
            "name": result.name,
            "url": f"/v1/jobs/{item.job_id}/files/{result.name}",
            "media_type": result.media_type,
            "bytes": result.bytes,
            "sha256": result.sha256,
        }
        response = {"status_code": int(HTTPStatus.OK), "files": [file], "meta": dict(result.meta)}
    elif item.error is not None:
        response = {"status_code": item.error["status"], "files": [], "meta": {}}
    line = {
        "index": item.position,
        "custom_id": item.custom_id,
        "state": str(item.state),
        "response": response,
        "error": None if item.error is None else dict(item.error),
    }
    return json.dumps(line, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}
