"""Bodies of requests: how large they may be, and how JSON and multipart become fields and attachments."""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from types import NoneType
from typing import Any, Final, get_args

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from choreo.errors import InvalidInput
from serving.http.problems import HttpProblem
from serving.pipeline.request import Attachments, DanceFields, GenerateFields, SearchFields
from serving.util.threads import run_in_thread_unless_fast

ATTACHMENTS = ("audio", "features", "start")
SEARCH_ATTACHMENTS = ("audio", "features")
MAX_FIELD_BYTES = 1 << 16
"""Largest scalar form value."""
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True)
class _NotJson:
    """Stands where a constant was that JSON does not have, so that its field can be named."""

    constant: str


class BodyLimit:
    """ASGI middleware: refuses packed bodies, and counts bytes as they come so that nothing oversized is kept."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        refusal = self._refusal(headers)
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            if refusal is not None:
                raise refusal
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._max_bytes:
                raise self._too_large()
            return message

        await self._app(scope, counted, send)

    def _refusal(self, headers: dict[bytes, bytes]) -> HttpProblem | None:
        """Why the body will not be read, as far as the headers tell."""
        if headers.get(b"content-encoding", b"identity").strip().lower() not in (b"", b"identity"):
            message = "packed request bodies are not accepted"
            return HttpProblem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "packed-body", message, "Content-Encoding")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._max_bytes:
            return self._too_large()
        return None

    def _too_large(self) -> HttpProblem:
        message = f"a request may have at most {self._max_bytes} bytes"
        return HttpProblem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", message, "body")


SMALL_BYTES: Final = 16 << 10
"""A JSON body of so many bytes is parsed in less time than a thread takes to begin."""


@dataclass(frozen=True)
class _Shape:
    """What a request may have: scalar fields, and binary parts."""

    fields: type[DanceFields]
    parts: tuple[str, ...]


_GENERATE, _SEARCH = _Shape(GenerateFields, ATTACHMENTS), _Shape(SearchFields, SEARCH_ATTACHMENTS)


async def read_generate(request: Request) -> tuple[dict[str, Any], Attachments]:
    """Scalar values and binary parts of a request for motion; see `_read`."""
    return await _read(request, _GENERATE)


async def read_search(request: Request) -> tuple[dict[str, Any], Attachments]:
    """Scalar values and binary parts of a search for phrases; see `_read`."""
    return await _read(request, _SEARCH)


async def _read(request: Request, shape: _Shape) -> tuple[dict[str, Any], Attachments]:
    """Values and parts in JSON or multipart; the values are not yet validated.

    Raises:
        HttpProblem: another content type, or too much data.
        InvalidInput: the body is broken, or a part is not what its name says.
    """
    match _content_type(request):
        case "application/json":
            values = await read_json(request)
            return await run_in_thread_unless_fast(await _small(request), _split_json, values, shape)
        case "multipart/form-data":
            return await _read_form(request, shape)
    message = "send application/json or multipart/form-data"
    raise HttpProblem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", message, "Content-Type")


async def read_json(request: Request) -> dict[str, Any]:
    """The members of a JSON object.

    Raises:
        HttpProblem: it is not JSON by its content type, or too much.
        InvalidInput: it is not one JSON object, names a member twice, or holds NaN or infinity.
    """
    if _content_type(request) != "application/json":
        message = "send application/json"
        raise HttpProblem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", message, "Content-Type")
    return await run_in_thread_unless_fast(await _small(request), parse_json, await request.body())


async def _small(request: Request) -> bool:
    return len(await request.body()) <= SMALL_BYTES


def parse_json(body: bytes) -> dict[str, Any]:
    """A JSON object without duplicate names, NaN or infinity; errors as in `read_json`."""
    try:
        values = json.loads(body, parse_constant=_NotJson, object_pairs_hook=_unique)
    except InvalidInput:
        raise
    except (ValueError, RecursionError) as error:  # a broken encoding and an endless integer are ValueErrors too
        raise InvalidInput("body", "is not valid JSON") from error
    if not isinstance(values, dict):
        raise InvalidInput("body", "must be a JSON object")
    for name, value in values.items():
        constant = _constant_in(value)
        if constant is not None:
            raise InvalidInput(name, f"must be finite, got {constant}")
    return values


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        raise InvalidInput(next(n for n in names if names.count(n) > 1), "is given more than once")
    return values


def _constant_in(value: Any) -> str | None:
    """Name of the first constant in a value that JSON does not have. Fields are flat: one level deep is enough."""
    candidates = value if isinstance(value, list) else value.values() if isinstance(value, dict) else [value]
    return next((c.constant for c in candidates if isinstance(c, _NotJson)), None)


def _split_json(values: dict[str, Any], shape: _Shape) -> tuple[dict[str, Any], Attachments]:
    parts = {name: _from_base64(name, values[name]) for name in shape.parts if values.get(name) is not None}
    return {name: value for name, value in values.items() if name not in shape.parts}, Attachments(**parts)


def _from_base64(name: str, value: Any) -> bytes:
    if not isinstance(value, str):
        raise InvalidInput(name, f"must be a base64 string in JSON, got {type(value).__name__}")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(name, "is not valid base64") from error


async def _read_form(request: Request, shape: _Shape) -> tuple[dict[str, Any], Attachments]:
    fields = len(shape.fields.model_fields) + len(shape.parts)
    try:
        form = await request.form(max_files=len(shape.parts), max_fields=fields, max_part_size=MAX_FIELD_BYTES)
    except HTTPException as error:
        raise InvalidInput("body", f"is not valid multipart/form-data: {error.detail}") from error
    values: dict[str, Any] = {}
    parts: dict[str, bytes] = {}
    try:
        for name, value in form.multi_items():
            if name in values or name in parts:
                raise InvalidInput(name, "is given more than once")
            if isinstance(value, UploadFile):
                if name not in shape.parts:
                    raise InvalidInput(name, f"must not be a file; file parts are {', '.join(shape.parts)}")
                parts[name] = await value.read()
            elif name in shape.parts:
                raise InvalidInput(name, "must be a file part")
            else:
                values[name] = _typed(name, value, shape.fields)
    finally:
        await form.close()
    return values, Attachments(**parts)


def _typed(name: str, text: str, fields: type[DanceFields]) -> Any:
    """A form value as what its field is; a form has only text."""
    info = fields.model_fields.get(name)
    if info is None:
        return text  # refused, by name, with the other unknown fields
    kind = next(t for t in get_args(info.annotation) or (info.annotation,) if t is not NoneType)
    if kind is bool:
        if text not in ("true", "false"):
            raise InvalidInput(name, f"must be true or false, got {text[:32]!r}")
        return text == "true"
    if kind is int:
        if not _INTEGER.fullmatch(text):
            raise InvalidInput(name, f"must be a whole number, got {text[:32]!r}")
        return int(text)
    if kind is float:
        if not _NUMBER.fullmatch(text):
            raise InvalidInput(name, f"must be a number, got {text[:32]!r}")
        return float(text)
    return text


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
