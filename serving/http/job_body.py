"""Bodies of `POST /v1/jobs`: a list of requests, one request, or a catalog with its songs."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from choreo.errors import InvalidInput
from serving.http.body import (
    ATTACHMENTS,
    content_type,
    form_request,
    read_form,
    read_members,
    split_request,
)
from serving.http.json_body import MAX_SEPARATORS, MAX_STRINGS, PLAIN_BYTES, JsonLimits, parse_json
from serving.http.problems import HttpProblem
from serving.http.webhook_post import check_webhook
from serving.jobs.records import NewItem, NewJob
from serving.pipeline.fields import GenerateFields
from serving.pipeline.request import Attachments
from serving.settings import Settings
from serving.util.threads import run_in_thread_unless_fast

KEY_HEADER: Final = "Idempotency-Key"
MAX_ID_CHARS: Final = 256
MAX_LONG: Final = 1024
_PER_REQUEST: Final = 64
_BYTES_PER_REQUEST: Final = 4 << 10
_KEY: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_ROW: Final = frozenset({"custom_id", "body"})
_CATALOG, _WEBHOOK = "catalog", "webhook_url"


def idempotency_key(request: Request) -> str | None:
    """The key in a request's header.

    Raises:
        InvalidInput: it is too long, or has other characters.
    """
    keys = request.headers.getlist(KEY_HEADER)
    if not keys:
        return None
    if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
        raise InvalidInput(KEY_HEADER, "must be 1 to 128 letters, digits and . _ : -")
    return keys[0]


async def read_job(request: Request, key: str | None, settings: Settings) -> NewJob:
    """The job that a body describes, whose requests are not validated yet.

    Raises:
        HttpProblem: another content type, or too much data.
        InvalidInput: the body is broken, has too many requests, or a part is not what its name says.
    """
    match content_type(request):
        case "application/json":
            values = await read_members(request, _limits(settings))
            return await run_in_thread_unless_fast(False, _json_job, values, key, settings)
        case "multipart/form-data":
            form = await read_form(request, settings.max_job_requests + 1, len(GenerateFields.model_fields) + 8)
            try:
                return await _form_job(form, key, settings)
            finally:
                await form.close()
    message = "send application/json or multipart/form-data"
    raise HttpProblem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", message, "Content-Type")


def _limits(settings: Settings) -> JsonLimits:
    count = settings.max_job_requests
    return JsonLimits(
        separators=MAX_SEPARATORS + _PER_REQUEST * count,
        plain_bytes=PLAIN_BYTES + _BYTES_PER_REQUEST * count,
        long_strings=MAX_LONG,
        strings=MAX_STRINGS + _PER_REQUEST * count,
        depth=3,  # of requests[0].body
    )


def _json_job(values: dict[str, Any], key: str | None, settings: Settings) -> NewJob:
    """Blocking: parts are decoded from base64."""
    webhook = _webhook(values.pop("webhook", None), settings)
    if "requests" not in values:
        return NewJob([_item(values, "")], webhook, key)
    if (other := next((name for name in values if name != "requests"), None)) is not None:
        raise InvalidInput(_shown(other), "is not a field of a job; it belongs into its requests")
    requests = values["requests"]
    if not isinstance(requests, list):
        raise InvalidInput("requests", "must be a list of requests")
    _check_count("requests", len(requests), settings)
    items = [_json_item(value, f"requests[{i}]") for i, value in enumerate(requests)]
    _check_ids(items)
    return NewJob(items, webhook, key)


def _json_item(value: Any, label: str) -> NewItem:
    """A request, or a row with an id of the caller's."""
    if not isinstance(value, dict):
        raise InvalidInput(label, "must be an object")
    if "body" not in value:
        return _item(value, label)
    custom_id, body = _row(value, label)
    return _item(body, f"{label}.body", custom_id)


def _item(values: dict[str, Any], label: str, custom_id: str | None = None) -> NewItem:
    try:
        fields, parts = split_request(values)
    except InvalidInput as error:
        raise _within(label, error) from error
    return NewItem(fields, parts, label, custom_id)


def _row(value: dict[str, Any], label: str) -> tuple[str | None, dict[str, Any]]:
    if (other := next((name for name in value if name not in _ROW), None)) is not None:
        raise InvalidInput(f"{label}.{_shown(other)}", "is not a column; a row has custom_id and body")
    custom_id, body = value.get("custom_id"), value.get("body")
    if custom_id is not None and not (
        isinstance(custom_id, str) and 0 < len(custom_id) <= MAX_ID_CHARS and custom_id.isprintable()
    ):
        raise InvalidInput(f"{label}.custom_id", f"must be a string of 1 to {MAX_ID_CHARS} printable characters")
    if not isinstance(body, dict):
        raise InvalidInput(f"{label}.body", "must be an object with the fields of a request")
    return custom_id, body


async def _form_job(form: FormData, key: str | None, settings: Settings) -> NewJob:
    items = form.multi_items()
    urls = [value for name, value in items if name == _WEBHOOK]
    if len(urls) > 1 or not all(isinstance(url, str) for url in urls):
        raise InvalidInput(_WEBHOOK, "must be one address")
    webhook = _webhook({"url": urls[0]}, settings) if urls else None
    rest = FormData([(name, value) for name, value in items if name != _WEBHOOK])
    catalogs = rest.getlist(_CATALOG)
    if not catalogs:
        return NewJob([NewItem(*await form_request(rest), "")], webhook, key)
    if len(catalogs) > 1 or not isinstance(catalogs[0], UploadFile):
        raise InvalidInput(_CATALOG, "must be one file of JSON lines")
    text = await catalogs[0].read()
    songs = await _uploads((name, value) for name, value in rest.multi_items() if name != _CATALOG)
    return await run_in_thread_unless_fast(False, _catalog_job, text, songs, webhook, key, settings)


@dataclass(frozen=True)
class _Uploads:
    """Uploaded files by the names of their parts and by their own; None where a name has several."""

    data: Mapping[str, bytes | None]

    def named(self, name: Any, label: str) -> bytes:
        """The file that a row names.

        Raises:
            InvalidInput: there is none, or there are several.
        """
        if not isinstance(name, str) or name not in self.data:
            raise InvalidInput(label, f"must be the name of an uploaded part, got {str(name)[:64]!r}")
        data = self.data[name]
        if data is None:
            raise InvalidInput(label, f"names several uploaded parts: {name[:64]!r}")
        return data


async def _uploads(parts: Iterable[tuple[str, Any]]) -> _Uploads:
    data: dict[str, bytes | None] = {}
    for name, value in parts:
        if not isinstance(value, UploadFile):
            raise InvalidInput(_shown(name), "must be a file: fields of requests belong into the catalog")
        body = await value.read()
        for known in {name, value.filename or name}:
            data[known] = None if known in data else body
    return _Uploads(data)


def _catalog_job(text: bytes, songs: _Uploads, webhook: str | None, key: str | None, settings: Settings) -> NewJob:
    """Blocking: every line is parsed."""
    lines = [(number, line) for number, line in enumerate(text.split(b"\n"), 1) if line.strip()]
    _check_count(_CATALOG, len(lines), settings)
    items = [_line(line, number, songs) for number, line in lines]
    _check_ids(items)
    return NewJob(items, webhook, key)


def _line(line: bytes, number: int, songs: _Uploads) -> NewItem:
    label = f"{_CATALOG}[{number}]"
    try:
        values = parse_json(line, JsonLimits(depth=1))
    except InvalidInput as error:
        if error.field == "body":
            raise InvalidInput(label, error.message) from error
        raise _within(label, error) from error
    custom_id, body = _row(values, label)
    label = f"{label}.body"
    parts = {name: songs.named(body[name], f"{label}.{name}") for name in ATTACHMENTS if body.get(name) is not None}
    item = _item({name: value for name, value in body.items() if name not in ATTACHMENTS}, label, custom_id)
    return replace(item, parts=Attachments(**parts))


def _webhook(value: Any, settings: Settings) -> str | None:
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != {"url"} or not isinstance(value["url"], str):
        raise InvalidInput("webhook", 'must be an object such as {"url": "https://example.org/danced"}')
    check_webhook(value["url"], settings)
    return str(value["url"])


def _check_count(name: str, count: int, settings: Settings) -> None:
    if not 1 <= count <= settings.max_job_requests:
        raise InvalidInput(name, f"must be 1 to {settings.max_job_requests} requests, got {count}")


def _check_ids(items: list[NewItem]) -> None:
    seen: set[str] = set()
    for item in items:
        if item.custom_id is not None and item.custom_id in seen:
            raise InvalidInput(
                f"{item.label.removesuffix('.body')}.custom_id", f"is given more than once: {item.custom_id[:64]!r}"
            )
        seen.add(item.custom_id or "")


def _within(label: str, error: InvalidInput) -> InvalidInput:
    return InvalidInput(f"{label}.{error.field}" if label else error.field, error.message)


def _shown(name: str) -> str:
    return name if name.isprintable() else "body"
