"""Bodies as they arrive: slow ones and large ones do not take what others need."""

import asyncio
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from starlette.requests import Request

from serving.errors import Overloaded
from serving.http import uploads
from serving.http.problems import HttpProblem
from serving.http.uploads import SMALL_BYTES, BodyLimit, Uploads


def request(length: int | None) -> Request:
    headers = [] if length is None else [(b"content-length", b"%d" % length)]
    return Request({"type": "http", "headers": headers})


def received(messages: list[tuple[float, bytes, bool]], min_rate: int = 1000) -> list[bytes]:
    """What an application gets of a body that comes in parts: (seconds to wait, bytes, whether more follows)."""
    got: list[bytes] = []
    parts: Iterator[tuple[float, bytes, bool]] = iter(messages)

    async def receive() -> dict[str, Any]:
        wait, body, more = next(parts)
        await asyncio.sleep(wait)
        return {"type": "http.request", "body": body, "more_body": more}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            got.append(message["body"])
            more = message["more_body"]

    async def main() -> None:
        await BodyLimit(app, 1 << 20, min_rate)({"type": "http", "headers": []}, receive, None)  # type: ignore[arg-type]

    asyncio.run(main())
    return got


def test_a_body_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "GRACE_S", 0.1)
    with pytest.raises(HttpProblem) as caught:
        received([(0.01, b"x", True)] * 1000)
    assert caught.value.problem.status is HTTPStatus.REQUEST_TIMEOUT


def test_a_body_that_comes_fast_enough_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "GRACE_S", 0.1)
    parts = [(0.02, b"x" * 5000, True)] * 20
    assert len(received([*parts, (0.0, b"", False)])) == 21


def test_small_bodies_need_no_place() -> None:
    places = Uploads(1)
    with places.place(request(SMALL_BYTES + 1)), places.place(request(SMALL_BYTES)), places.place(request(0)):
        pass


@pytest.mark.parametrize("length", [None, SMALL_BYTES + 1, 10**25])
def test_large_bodies_and_those_of_unknown_size_wait_for_nobody(length: int | None) -> None:
    places = Uploads(1)
    with places.place(request(length)), pytest.raises(Overloaded), places.place(request(length)):
        pass
    with places.place(request(length)):
        pass
