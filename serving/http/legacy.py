"""`POST /generate` as the first documents describe it: their fields, their defaults, their answer."""

import asyncio
import json
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.responses import Response

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.json_format import motion_document
from choreo.motion.skeleton import FPS, WINDOW
from serving.http.notes import notes_header
from serving.http.openapi import PROBLEMS, one_of, problems
from serving.http.problems import HttpProblem
from serving.pipeline.results import Result

ONE_WINDOW_S = 6.5
"""What the documents call the length of one window; 196 frames are a little more."""
MEMBERS = ("motion", "fps", "num_frames", "num_joints")


class GenerationRequest(BaseModel):
    """The documents' request; members it does not know are ignored, as theirs were."""

    model_config = ConfigDict(strict=True)

    audio_url: str | None = None
    text_prompt: str | None = None
    duration: float = ONE_WINDOW_S
    guidance_scale: float = 7.5
    use_rag: bool = True


def translate(values: dict[str, Any]) -> dict[str, Any]:
    """The documents' request as values for `parse_fields`.

    Raises:
        InvalidInput: a member has the wrong type.
        HttpProblem: neither a song nor a prompt was given.
    """
    try:
        request = GenerationRequest.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(str(first["loc"][0]), first["msg"]) from error
    if not request.audio_url and not request.text_prompt:
        message = "Must provide audio_url or text_prompt"
        raise HttpProblem(HTTPStatus.BAD_REQUEST, "invalid-input", message, "text_prompt")
    duration = WINDOW / FPS if request.duration == ONE_WINDOW_S else request.duration
    sources = {"audio_url": request.audio_url or None, "text_prompt": request.text_prompt or None}
    return request.model_dump() | sources | {"duration": duration}


async def answer(result: Result) -> Response:
    """The documents' answer."""
    body = await asyncio.to_thread(_body, result.motion)
    headers = {"X-Seed": str(result.seed)} | notes_header(result.performance.meta.get("notes", ()))
    return Response(body, headers=headers, media_type="application/json")


def body() -> dict[str, Any]:
    """The request for the interface's description."""
    schema = GenerationRequest.model_json_schema() | one_of("text_prompt", "audio_url")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def answers() -> dict[int | str, dict[str, Any]]:
    """Its answers for the interface's description: without a song or a prompt it is 400, as it was."""
    return problems(400, *PROBLEMS)


def _body(motion: Motion) -> bytes:
    document = motion_document(motion)
    return json.dumps({name: document[name] for name in MEMBERS}, allow_nan=False, separators=(",", ":")).encode()
