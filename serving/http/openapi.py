"""What the interface says about itself: its OpenAPI parts and the descriptions of models."""

import importlib.metadata
from collections.abc import Iterable
from typing import Any, Final

from choreo.generators.spec import GeneratorSpec
from choreo.motion.formats.formats import FORMATS
from choreo.motion.skeleton import NUM_JOINTS
from choreo.music.limits import FORMATS as SONG_FORMATS
from serving.http.body import ATTACHMENTS, SEARCH_ATTACHMENTS
from serving.http.problems import MEDIA_TYPE
from serving.pipeline.fields import DanceFields, GenerateFields, SearchFields

DESCRIPTION = "Songs and text prompts in, 3-D dance motion out."
PROBLEMS = (408, 413, 415, 422, 429, 500, 501, 503, 504, 507)
FORM = "multipart/form-data"
_PARTS = {
    "audio": f"Song: {SONG_FORMATS}.",
    "features": "Precomputed music features, an .npy of (T, 35) or (T, 4800) at 30 fps, in place of a song.",
    "start": "Motion (.npz) that the result begins with.",
    "end": "Motion (.npz) that the result ends with.",
    "clip": "Motion (.npz) that constraints take spans or poses of.",
    "rig": "Your own character (.glb, .vrm or .bvh): the answer is this file with the dance in it.",
    "leader": "Motion (.npz) of one dancer, whom a duet model gives a partner.",
}


CORS: Final[dict[str, Any]] = {
    "allow_methods": ("GET", "POST", "DELETE"),
    "allow_headers": ("Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"),
    "expose_headers": (
        "Content-Disposition", "Location", "Retry-After", "Server-Timing", "X-Notes", "X-Request-Id", "X-Seed",
    ),
    "max_age": 600,
}  # fmt: skip
"""What pages of other origins may send and read, where they are allowed at all."""


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
        "weights_sha256": spec.weights_sha256,
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


def one_of(*names: str) -> dict[str, Any]:
    """Further members of the schema of a request that needs one of these strings."""
    return {"anyOf": _sources(names)}


def _sources(names: Iterable[str]) -> list[dict[str, Any]]:
    """Alternatives: a string that is not empty under one of these names. A start or a rig alone is none."""
    text = {"type": "string", "minLength": 1}
    return [
        {"required": [name], "properties": {name: text}}
        for name in names
        if name not in ("start", "end", "clip", "rig")
    ]


def _text_only(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a form's field, which cannot be null: without a value it is left out. Lists are text."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    if len(kinds) != 1:
        return schema
    return rest | ({"type": "string"} if kinds[0].get("type") in ("array", "object") else kinds[0])


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with its definitions in the place of references to them, which point to the root of a document."""
    definitions = schema.get("$defs", {})

    def inlined(value: Any) -> Any:
        if isinstance(value, list):
            return [inlined(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return inlined(definitions[value["$ref"].rpartition("/")[2]])
        return {name: inlined(item) for name, item in value.items() if name != "$defs"}

    whole: dict[str, Any] = inlined(schema)
    return whole


def _body(fields: type[DanceFields], parts: Iterable[str]) -> dict[str, Any]:
    kinds = {"application/json": {"contentEncoding": "base64"}, FORM: {"format": "binary"}}
    content = {}
    for media_type, kind in kinds.items():
        schema = _inlined(fields.model_json_schema())
        if media_type == FORM:
            schema["properties"] = {name: _text_only(values) for name, values in schema["properties"].items()}
        binary = {name: {"type": "string", **kind, "description": _PARTS[name]} for name in parts}
        whole = schema | {"properties": schema["properties"] | binary}
        # Tools that read schemas do not expect alternatives beside binary parts.
        sources = {} if media_type == FORM else one_of("text_prompt", "audio_url", *binary)
        content[media_type] = {"schema": whole | sources}
    return {"requestBody": {"required": True, "content": content}}
