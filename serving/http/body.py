"""Bodies of requests: how large they may be, and how JSON and multipart become fields and attachments."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from choreo.errors import InvalidInput
from serving.http.json_body import ONE_REQUEST, JsonLimits, LongString, from_base64, parse_json
from serving.http.multipart import WholeForm
from serving.http.problems import HttpProblem
from serving.pipeline.fields import DanceFields, GenerateFields, SearchFields
from serving.pipeline.request import Attachments
from serving.pipeline.text_values import typed_text
from serving.util.threads import run_in_thread_unless_fast

ATTACHMENTS = ("audio", "features", "start", "end", "clip", "rig", "leader")
SEARCH_ATTACHMENTS = ("audio", "features")
MAX_FIELD_BYTES = 1 << 16
"""Largest scalar form value."""

QUICK_BYTES: Final = 16 << 10
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
    match content_type(request):
        case "application/json":
            values, is_small = await _members(request)
            return await run_in_thread_unless_fast(is_small, _split_json, values, shape)
        case "multipart/form-data":
            return await _read_form(request, shape)
    message = "send application/json or multipart/form-data"
    raise HttpProblem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", message, "Content-Type")


async def read_json(request: Request) -> dict[str, Any]:
    """The members of a JSON object; long strings as `LongString`.

    Raises:
        HttpProblem: it is not JSON by its content type, or too much.
        InvalidInput: it is not one JSON object, names a member twice, or holds NaN or infinity.
    """
    if content_type(request) != "application/json":
        message = "send application/json"
        raise HttpProblem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", message, "Content-Type")
    values, _ = await _members(request)
    return values


def split_request(values: dict[str, Any]) -> tuple[dict[str, Any], Attachments]:
    """Scalar values and binary parts of a request for motion that was JSON; blocking where it is large.

    Raises:
        InvalidInput: a part is not what its name says.
    """
    return _split_json(values, _GENERATE)


async def read_form(request: Request, max_files: int, max_fields: int) -> FormData:
    """A form, which must be closed.

    Raises:
        InvalidInput: it is broken, or has more parts than that.
    """
    try:
        return await WholeForm(
            request.headers,
            request.stream(),
            max_files=max_files,
            max_fields=max_fields,
            max_part_size=MAX_FIELD_BYTES,
        ).parse()
    except MultiPartException as error:
        raise InvalidInput("body", f"is not valid multipart/form-data: {error.message}") from error
    except (LookupError, UnicodeError) as error:
        raise InvalidInput("Content-Type", "names a character set that its parts are not in") from error


async def form_request(form: FormData) -> tuple[dict[str, Any], Attachments]:
    """Scalar values and binary parts of a request for motion that was a form.

    Raises:
        InvalidInput: a part is given twice, or is not what its name says.
    """
    return await _form_values(form, _GENERATE)


async def read_members(request: Request, limits: JsonLimits) -> dict[str, Any]:
    """The members of a JSON object within other limits than those of one request; see `read_json`."""
    values, _ = await _members(request, limits)
    return values


async def _members(request: Request, limits: JsonLimits = ONE_REQUEST) -> tuple[dict[str, Any], bool]:
    """What a JSON body holds, and whether it is small."""
    body = bytearray()  # grows in place: joined at the end, a large one would stop the event loop for a moment
    async for chunk in request.stream():
        body += chunk
    is_small = len(body) <= QUICK_BYTES
    return await run_in_thread_unless_fast(is_small, parse_json, body, limits), is_small


def _split_json(values: dict[str, Any], shape: _Shape) -> tuple[dict[str, Any], Attachments]:
    parts = {name: _from_base64(name, values[name]) for name in shape.parts if values.get(name) is not None}
    scalars = {name: value for name, value in values.items() if name not in shape.parts}
    for name, value in scalars.items():
        if isinstance(value, LongString):
            raise InvalidInput(name, "is too long")
    return scalars, Attachments(**parts)


def _from_base64(name: str, value: Any) -> bytes:
    try:
        return from_base64(value)
    except TypeError as error:
        raise InvalidInput(name, str(error)) from error
    except ValueError as error:
        raise InvalidInput(name, "is not valid base64") from error


async def _read_form(request: Request, shape: _Shape) -> tuple[dict[str, Any], Attachments]:
    form = await read_form(request, len(shape.parts), len(shape.fields.model_fields) + len(shape.parts))
    try:
        return await _form_values(form, shape)
    finally:
        await form.close()


async def _form_values(form: FormData, shape: _Shape) -> tuple[dict[str, Any], Attachments]:
    values: dict[str, Any] = {}
    parts: dict[str, bytes] = {}
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
            values[name] = typed_text(name, value, shape.fields)
    return values, Attachments(**parts)


def content_type(request: Request) -> str:
    """The media type of a body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
