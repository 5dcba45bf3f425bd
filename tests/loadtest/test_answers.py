import json
from http import HTTPStatus
from typing import Any

import httpx
import numpy as np
import pytest

from choreo.motion.clip import Motion
from choreo.motion.formats.formats import FORMATS, Format, encode
from choreo.motion.skeleton import REST_OFFSETS
from loadtest.answers import judged
from loadtest.samples import Answer, Outcome
from loadtest.scenarios import LoadRequest

FRAMES = 7


def motion() -> Motion:
    return Motion(np.tile(np.cumsum(REST_OFFSETS, axis=0).astype(np.float32), (FRAMES, 1, 1)))


def judge(body: bytes, status: int = 200, fmt: Format = Format.JSON, expected: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    wanted = LoadRequest("x", "POST", "/", {}, b"", HTTPStatus(expected), fmt, FRAMES)
    return judged(wanted, status, httpx.Headers({"content-type": fmt.media_type} | named), body)


@pytest.mark.parametrize("fmt", [fmt for fmt in FORMATS if not fmt.needs_blender])
def test_motion_of_the_right_length_is_recognised_in_every_format(fmt: Format) -> None:
    body = encode(motion(), fmt)
    answer = judge(body, fmt=fmt)
    assert answer == Answer(Outcome.SERVED, 200, len(body), FRAMES)
    for wrong in (body[:-9], body[: len(body) // 3], b"", b"{}", b"\x00" * 64):
        assert judge(wrong, fmt=fmt).error == f"no {fmt} motion"


def test_a_dance_of_another_length_or_type_is_an_error() -> None:
    short = json.dumps({"motion": [0] * (FRAMES - 1)}).encode()
    assert judge(short).error == "wrong number of frames"
    assert judge(encode(motion(), Format.JSON), content_type="text/html").error == "wrong content type"


@pytest.mark.parametrize(
    ("status", "headers", "outcome", "error", "pause"),
    [
        (429, {"retry_after": "3"}, Outcome.SHED, "shed with 429", 3),
        (503, {"retry_after": "9999"}, Outcome.SHED, "shed with 503", 60),
        (503, {"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, Outcome.SHED, "shed with 503", 1),
        (429, {}, Outcome.FAILED, "status 429", 0),
        (503, {}, Outcome.FAILED, "status 503", 0),
        (500, {}, Outcome.FAILED, "status 500", 0),
        (422, {}, Outcome.FAILED, "status 422", 0),
    ],
)
def test_only_a_full_server_that_says_when_to_return_sheds(
    status: int, headers: Any, outcome: Outcome, error: str, pause: float
) -> None:
    assert judge(b"{}", status, **headers) == Answer(outcome, status, 2, error=error, pause_s=pause)


def test_a_bad_request_must_get_its_refusal() -> None:
    kind = "application/problem+json"
    right = b'{"status": 422, "type": "urn:choreo:problem:invalid-input"}'
    assert judge(right, 422, expected=422, content_type=kind).outcome is Outcome.REFUSED
    assert judge(right, 422, expected=422).error == "no problem document"
    assert judge(b"[" * 100_000, 422, expected=422, content_type=kind).error == "no problem document"
    assert judge(encode(motion(), Format.JSON), 200, expected=422).error == "status 200"
    assert judge(right, 400, expected=422, content_type=kind).error == "status 400 invalid-input"
    assert judge(b"{}", 429, expected=422, retry_after="1").outcome is Outcome.SHED
