"""Calls of a server as its OpenAPI document describes them, and as it does not, made up by schemathesis."""

from collections import Counter
from contextlib import nullcontext, suppress
from typing import Any, Final

import httpx
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS: Final[list[CheckFunction]] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
SEED: Final = 20260101
LONGEST_S: Final = 120.0
SMALL: Final[dict[str, dict[str, Any]]] = {
    "num_steps": {"type": "integer", "minimum": 1, "maximum": 2},
    "duration": {"type": "number", "minimum": 0.1, "maximum": 1.0},
    "timeout": {"type": "number", "minimum": 60, "maximum": LONGEST_S},
    "format": {"type": "string", "enum": ["json", "npz", "bvh"]},
}
"""Fields that decide how long a dance takes. Films are left out, and times in which there can be no dance."""
TAKEN: Final[dict[str, dict[str, Any]]] = SMALL | {
    "text_prompt": {"type": "string", "pattern": "^[a-z]{1,8}( [a-z]{1,8}){0,3}$"},
    "preset": {"type": "string", "enum": ["reference", "fast", "draft"]},
    "sampler": {"type": "string", "enum": ["ddim", "ddpm", "dpm++2m"]},
    "priority": {"type": "string", "enum": ["interactive", "bulk"]},
    "seed": {"type": "integer", "minimum": 0, "maximum": 2**31},
    "guidance_scale": {"type": "number", "minimum": 0, "maximum": 10},
    "text_guidance": {"type": "number", "minimum": 0, "maximum": 10},
    "guidance_low": {"type": "number", "minimum": 0, "maximum": 0.4},
    "guidance_high": {"type": "number", "minimum": 0.6, "maximum": 1},
    "phrase_variety": {"type": "number", "minimum": 0, "maximum": 1},
    "phrase_min_tempo": {"type": "number", "minimum": 60, "maximum": 100},
    "phrase_max_tempo": {"type": "number", "minimum": 120, "maximum": 200},
    "phrase_genre": {"type": "string", "enum": ["waltz", "salsa, rumba"]},
    "phrase_licence": {"type": "string", "enum": ["cc0", "cc-by-4.0"]},
    "top_n": {"type": "integer", "minimum": 1, "maximum": 20},
}
"""Values that a server takes, where their types alone do not say which."""
FILES: Final = frozenset({"audio", "audio_url", "catalog", "features", "model", "start"})
"""Fields of which a schema cannot say what is taken."""

Answers = Counter[tuple[str, int]]


def narrowed(part: Any, mode: GenerationMode) -> Any:
    """A part of the document in which dances are short, and valid ones are of values that the server takes.

    Files of forms become texts: schemathesis cannot check a form with binary parts that it has generated.
    """
    if isinstance(part, list):
        return [narrowed(each, mode) for each in part]
    if not isinstance(part, dict):
        return part
    made = {name: narrowed(value, mode) for name, value in part.items()}
    if made.get("format") == "binary":
        del made["format"]
    found = made.get("properties")
    if not isinstance(found, dict) or "duration" not in found:
        return made
    needed = {name for name in ("num_steps", "duration", "format") if name in found}
    if mode is GenerationMode.NEGATIVE:
        made["properties"] = {name: SMALL.get(name, values) for name, values in found.items()}
    else:
        made["properties"] = {name: TAKEN.get(name, values) for name, values in found.items() if name not in FILES}
        made["additionalProperties"] = False
        made.pop("anyOf", None)  # a prompt is there
        needed.add("text_prompt")
    return made | {"required": sorted({*made.get("required", ()), *needed})}


def call_all(url: str, examples: int) -> Answers:
    """Make calls of every operation, with a body of every type: so many as the document allows, and as many others.

    Returns:
        The answers, by operation and status.

    Raises:
        schemathesis.errors.FailureGroup: an answer is a 5xx, or is not what the document says.
    """
    document = httpx.get(f"{url}/openapi.json", trust_env=False).json()
    answers: Answers = Counter()
    for mode in GenerationMode:
        schema = schemathesis.openapi.from_dict(narrowed(document, mode))
        schema.config.update(base_url=url)
        for found in schema.get_all_operations():
            operation = found.ok()
            for media_type in [body.media_type for body in operation.body] or [None]:
                _call(operation, mode, media_type, examples, answers)
    return answers


def _call(operation: Any, mode: GenerationMode, media_type: str | None, examples: int, answers: Answers) -> None:
    given_type = {} if media_type is None else {"media_type": media_type}

    @seed(SEED)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode, **given_type))
    def call(case: Case) -> None:
        answer = case.call_and_validate(checks=CHECKS, timeout=LONGEST_S)
        answers[operation.label, answer.status_code] += 1

    with suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else nullcontext():  # there is nothing to violate
        call()
