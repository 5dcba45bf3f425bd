"""Checks whether an answer is the one that its request must get."""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from choreo.errors import InvalidInput
from choreo.motion.formats.formats import Format
from choreo.motion.formats.npz import NpzArchive
from choreo.motion.skeleton import NUM_JOINTS
from loadtest.samples import Answer, Outcome
from loadtest.scenarios import LoadRequest

MAX_BODY: Final = 256 << 20
"""Bytes of an answer that are read before it is given up."""
MAX_PAUSE_S: Final = 60.0
UNREACHED_PAUSE_S: Final = 1.0
"""How long a user waits before the next request when the server could not be reached."""
PROBLEM: Final = "application/problem+json"
"""RFC 9457. Repeated here because importing it from the server would import FastAPI."""
_SHEDDING: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_KIND: Final = re.compile(r"urn:choreo:problem:([a-z-]{1,40})")
_BVH_FRAMES: Final = re.compile(rb"^MOTION\s+Frames:\s*([0-9]{1,9})[ \t\r]*\n", re.MULTILINE)


def judged(wanted: LoadRequest, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """Compare an answer with what the request must get.

    Args:
        headers: must find `Retry-After` and `Content-Type` by these names.
    """
    media_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    problem = _problem(body) if media_type == PROBLEM else {}
    if status in _SHEDDING and "Retry-After" in headers:
        return Answer(
            Outcome.SHED, status, len(body), error=f"shed with {status}", pause_s=_pause(headers["Retry-After"])
        )
    if status != wanted.status:
        kind = _KIND.fullmatch(str(problem.get("type", "")))
        return _failed(status, body, f"status {status}" + (f" {kind[1]}" if kind else ""))
    if wanted.status != HTTPStatus.OK:
        right = problem.get("status") == status
        refused = Answer(Outcome.REFUSED, status, len(body))
        return refused if right else _failed(status, body, "no problem document")
    if media_type != wanted.format.media_type:
        return _failed(status, body, "wrong content type")
    frames = _frames(wanted.format, body)
    if frames is None:
        return _failed(status, body, f"no {wanted.format} motion")
    if frames != wanted.frames:
        return _failed(status, body, "wrong number of frames")
    return Answer(Outcome.SERVED, status, len(body), frames)


def unreached(error: str) -> Answer:
    """The answer of a request that got none, or only a part of one."""
    return Answer(Outcome.FAILED, error=error, pause_s=UNREACHED_PAUSE_S)


def too_large(status: int) -> Answer:
    """The answer of a request whose body exceeded `MAX_BODY`."""
    return Answer(Outcome.FAILED, status, MAX_BODY, error="too large an answer")


def _failed(status: int, body: bytes, error: str) -> Answer:
    return Answer(Outcome.FAILED, status, len(body), error=error)


def _pause(retry_after: str) -> float:
    """Seconds of a Retry-After header; a date is not parsed and counts as one second."""
    return min(float(retry_after), MAX_PAUSE_S) if retry_after.isascii() and retry_after.isdigit() else 1.0


def _problem(body: bytes) -> dict[str, Any]:
    document = _json(body)
    return document if isinstance(document, dict) else {}


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _frames(fmt: Format, body: bytes) -> int | None:
    """Number of frames of the motion in a file; None if the file holds no motion."""
    match fmt:
        case Format.JSON:
            motion = _problem(body).get("motion")
            return len(motion) if isinstance(motion, list) else None
        case Format.NPZ:
            try:
                return len(NpzArchive(body, "answer").array("positions", "f", (None, NUM_JOINTS, 3)))
            except InvalidInput:
                return None
        case Format.BVH:
            return _bvh_frames(body)
        case Format.MP4:
            return _film_frames(body)
        case Format.GLB | Format.VRMA:
            return _glb_frames(body)
        case Format.AMASS:
            try:
                return len(NpzArchive(body, "answer").array("trans", "f", (None, 3)))
            except InvalidInput:
                return None
        case Format.CSV:
            return _csv_frames(body)
    return None


def _bvh_frames(body: bytes) -> int | None:
    found = _BVH_FRAMES.search(body)
    if not body.startswith(b"HIERARCHY") or not found:
        return None
    frames = int(found[1])
    return frames if body.count(b"\n", found.end()) == frames + 1 else None  # the frame time, then a row per frame


def _glb_frames(body: bytes) -> int | None:
    """Keys of the first sampler of the animation."""
    if body[:4] != b"glTF" or len(body) != int.from_bytes(body[8:12], "little"):
        return None
    document = _problem(body[20 : 20 + int.from_bytes(body[12:16], "little")])
    try:
        keys = document["accessors"][document["animations"][0]["samplers"][0]["input"]]["count"]
    except (LookupError, TypeError):
        return None
    return keys if isinstance(keys, int) else None


def _csv_frames(body: bytes) -> int | None:
    """Lines after the first, if the file is whole."""
    whole = body.startswith(b"frame,time,") and body.endswith(b"\n")
    return body.count(b"\n") - 1 if whole else None


def _film_frames(body: bytes) -> int | None:
    """Samples of the video track, as counted by its `stsz` box (ISO/IEC 14496-12)."""
    box = body.find(b"stsz", body.find(b"vide"))
    whole = body[4:8] == b"ftyp" and box >= 0 and _boxes_fill(body)
    return int.from_bytes(body[box + 12 : box + 16]) if whole else None


def _boxes_fill(body: bytes) -> bool:
    """Whether the outermost boxes fill the file exactly."""
    at = 0
    while at < len(body):
        at += max(int.from_bytes(body[at : at + 4]), 8)
    return at == len(body)
