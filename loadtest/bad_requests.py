"""Requests that a server must refuse, with the HTTP status that each must get."""

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from loadtest.payloads import Body, form

GENERATE = "/v1/generate"
_TEXT = {"text_prompt": "a slow waltz"}


@dataclass(frozen=True)
class BadRequest:
    """A request and the status that it must get."""

    name: str
    body: Body
    status: HTTPStatus
    path: str = GENERATE
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()


def bad_requests() -> list[BadRequest]:
    """One request of each kind."""
    unprocessable, unsupported = HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    values: dict[str, dict[str, Any]] = {
        "nothing": {},
        "too-long": _TEXT | {"duration": 1e9},
        "no-steps": _TEXT | {"num_steps": 0},
        "unknown-field": _TEXT | {"tempo": 120},
        "unknown-model": _TEXT | {"model": "no such model"},
        "unknown-format": _TEXT | {"format": "usd"},
        "number-as-text": _TEXT | {"duration": "5"},
    }
    return [
        *(BadRequest(name, json_body(value), unprocessable) for name, value in values.items()),
        BadRequest("broken-json", Body(b'{"text_prompt": ', "application/json"), unprocessable),
        BadRequest("nan", Body(b'{"text_prompt": "x", "duration": NaN}', "application/json"), unprocessable),
        BadRequest("no-song", form({}, {"audio": b"RIFF but nothing else"}), unprocessable),
        BadRequest("plain-text", Body(b"a slow waltz", "text/plain"), unsupported),
        BadRequest("packed", json_body(_TEXT), unsupported, headers=(("Content-Encoding", "gzip"),)),
        BadRequest("old-interface", json_body({}), HTTPStatus.BAD_REQUEST, "/generate"),
        BadRequest("wrong-method", Body(b"", ""), HTTPStatus.METHOD_NOT_ALLOWED, method="GET"),
        BadRequest("unknown-path", json_body({}), HTTPStatus.NOT_FOUND, "/v1/dance"),
    ]


def json_body(values: dict[str, Any]) -> Body:
    """A JSON body."""
    return Body(json.dumps(values).encode(), "application/json")
