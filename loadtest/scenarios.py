"""Four mixes of requests, each a function of a seed and of the request's number."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

import numpy as np

from choreo.motion.formats.formats import FORMATS, Format
from choreo.motion.skeleton import FPS
from loadtest.bad_requests import GENERATE, bad_requests, json_body
from loadtest.payloads import Songs, form, prompt

SHORT: Final = (FPS, 6 * FPS)
"""Frames of a short clip: less than one window of the model."""
LONG: Final = (20 * FPS, 60 * FPS)
"""Frames of a whole song, up to a server's default limit."""
SONG_SHARE: Final = 0.4
"""Share of interactive requests with a song."""
PROMPT_SHARE: Final = 0.5
"""Share of requests with a song that also have a prompt."""
BAD_SHARE: Final = 0.25
"""Share of mixed requests that a server must refuse."""


class Scenario(StrEnum):
    """The names of the mixes."""

    INTERACTIVE = "interactive"
    BULK = "bulk"
    MIXED = "mixed"
    FORMATS = "formats"


@dataclass(frozen=True)
class LoadRequest:
    """One request, and the answer that it must get.

    Attributes:
        kind: name by which figures are grouped.
        status: status that the server must answer with, unless it is overloaded.
        format: format of the motion, if motion is asked for.
        frames: length of that motion.
    """

    kind: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    format: Format = Format.JSON
    frames: int = 0


Requests = Callable[[int], LoadRequest]


def requests_of(scenario: Scenario, seed: int) -> Requests:
    """Synthesise the songs of a scenario; the function returned makes the request of a number, always the same."""
    match scenario:
        case Scenario.INTERACTIVE:
            maker = _interactive(Songs(SHORT[1], seed))
        case Scenario.BULK:
            maker = _bulk(Songs(LONG[1], seed))
        case Scenario.MIXED:
            maker = _mixed(_interactive(Songs(SHORT[1], seed)))
        case Scenario.FORMATS:
            maker = _formats(Songs(SHORT[1], seed))
    return lambda index: maker(index, np.random.default_rng((seed, index)))


_Maker = Callable[[int, np.random.Generator], LoadRequest]


def _interactive(songs: Songs) -> _Maker:
    """Short clips of random length as JSON, from a prompt, a song or both."""

    def make(index: int, rng: np.random.Generator) -> LoadRequest:
        frames = int(rng.integers(*SHORT, endpoint=True))
        if rng.random() < SONG_SHARE:
            return _song("song", songs, frames, Format.JSON, rng)
        return _prompted("prompt", frames, Format.JSON, rng)

    return make


def _bulk(songs: Songs) -> _Maker:
    """Whole songs of random length as NPZ."""

    def make(index: int, rng: np.random.Generator) -> LoadRequest:
        return _song("whole song", songs, int(rng.integers(*LONG, endpoint=True)), Format.NPZ, rng)

    return make


def _mixed(good: _Maker) -> _Maker:
    """Interactive requests mixed with bad ones."""
    every = bad_requests()

    def make(index: int, rng: np.random.Generator) -> LoadRequest:
        if rng.random() >= BAD_SHARE:
            return good(index, rng)
        bad = every[rng.integers(len(every))]
        headers = {"Content-Type": bad.body.content_type} if bad.body.content_type else {}
        return LoadRequest(
            f"bad: {bad.name}", bad.method, bad.path, headers | dict(bad.headers), bad.body.data, bad.status
        )

    return make


def _formats(songs: Songs) -> _Maker:
    """Short clips to songs, in each format in turn, except what a server need not be able to write."""
    formats = [fmt for fmt in FORMATS if not fmt.needs_blender]

    def make(index: int, rng: np.random.Generator) -> LoadRequest:
        wanted = formats[index % len(formats)]
        return _song(wanted.name, songs, int(rng.integers(*SHORT, endpoint=True)), wanted, rng)

    return make


def _prompted(kind: str, frames: int, fmt: Format, rng: np.random.Generator) -> LoadRequest:
    values: dict[str, Any] = {"text_prompt": prompt(rng), "duration": frames / FPS, "format": fmt.name}
    body = json_body(values | {"seed": _seed(rng)})
    return LoadRequest(
        kind, "POST", GENERATE, {"Content-Type": body.content_type}, body.data, format=fmt, frames=frames
    )


def _song(kind: str, songs: Songs, frames: int, fmt: Format, rng: np.random.Generator) -> LoadRequest:
    """A request without a duration, so that the length of the song decides."""
    fields = {"format": fmt.name, "seed": str(_seed(rng))}
    if rng.random() < PROMPT_SHARE:
        fields["text_prompt"] = prompt(rng)
    body = form(fields, {"audio": songs.piece(frames, rng)})
    return LoadRequest(
        kind, "POST", GENERATE, {"Content-Type": body.content_type}, body.data, format=fmt, frames=frames
    )


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
