"""What the interface says about itself: its OpenAPI parts and the descriptions of models."""

import importlib.metadata
from collections.abc import Iterable
from typing import Any

from choreo.generators.spec import GeneratorSpec
from choreo.motion.formats.formats import FORMATS
from choreo.motion.skeleton import NUM_JOINTS
from serving.http.body import ATTACHMENTS, SEARCH_ATTACHMENTS
from serving.http.problems import MEDIA_TYPE
from serving.pipeline.request import DanceFields, GenerateFields, SearchFields

DESCRIPTION = "Songs and text prompts in, 3-D dance motion out."
PROBLEMS = (408, 413, 415, 422, 429, 500, 501, 503, 504)
_PARTS = {
    "audio": "Song: wav, flac, ogg or mp3.",
    "features": "Precomputed music features, an .npy of (T, 35) or (T, 4800) at 30 fps, in place of a song.",
    "start": "Motion (.npz) that the result begins with.",
}


def version() -> str:
    """Version of the program."""
    return importlib.metadata.version("choreo")


def model_document(spec: GeneratorSpec, default: bool) -> dict[str, Any]:
    """What a caller may want to know of a model."""
    return {
        "name": spec.name,
        "default": default,
        "window": spec.window,
        "fps": spec.fps,
        "num_joints": NUM_JOINTS,
        "music_encoder": spec.music_encoder,
        "music_dim": spec.music_dim,
        "text_encoder": spec.text_encoder,
        "text_dim": spec.text_dim,
        "family": spec.family,
        "representation": spec.representation,
        "graphs": [graph.name for graph in spec.graphs],
        **spec.parameters,
    }


def generate_body() -> dict[str, Any]:
    """The request of `POST /v1/generate`."""
    return _body(GenerateFields, ATTACHMENTS)


def search_body() -> dict[str, Any]:
    """The request of `POST /v1/phrases/search`."""
    return _body(SearchFields, SEARCH_ATTACHMENTS)


def generate_answers() -> dict[int | str, dict[str, Any]]:
    """The answers of `POST /v1/generate`."""
    content: dict[str, Any] = {fmt.media_type: {} for fmt in FORMATS}
    return {200: {"description": "The motion in the format asked for.", "content": content}} | problems()


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problem documents by status; without arguments, all that a generating request may end in."""
    chosen: Iterable[int] = statuses or PROBLEMS
    return {status: {"description": "A problem document (RFC 9457).", "content": {MEDIA_TYPE: {}}} for status in chosen}


def _body(fields: type[DanceFields], parts: Iterable[str]) -> dict[str, Any]:
    kinds = {"application/json": {"contentEncoding": "base64"}, "multipart/form-data": {"format": "binary"}}
    content = {}
    for media_type, kind in kinds.items():
        schema = fields.model_json_schema()
        binary = {name: {"type": "string", **kind, "description": _PARTS[name]} for name in parts}
        content[media_type] = {"schema": schema | {"properties": schema["properties"] | binary}}
    return {"requestBody": {"required": True, "content": content}}
