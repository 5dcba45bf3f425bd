"""The access log: a line for each request, and nothing secret in it."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from logging_as_before import logging_as_before

from choreo.errors import InvalidInput
from serving.util.logs import LogOptions, configure


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_for_each_request(ingress: Any, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    headers = {"Authorization": "Bearer a-secret", "X-Request-Id": "mine"}
    answer = ingress.generate({"text_prompt": "a quiet prompt"}, headers=headers, settings={"access_log": path})
    refused = ingress.ask("GET", "/no/secret/place", settings={"access_log": path})
    first, second = lines(path)
    assert first.pop("time").endswith("+00:00")
    assert first.pop("seconds") >= 0
    assert first.pop("process") == os.getpid()
    assert first == {
        "level": "INFO",
        "logger": "choreo.access",
        "component": "ingress",
        "message": "POST /v1/generate 200",
        "request_id": "mine",
        "client": "127.0.0.1",
        "method": "POST",
        "route": "/v1/generate",
        "status": 200,
        "bytes": len(answer.content),
    }
    assert (second["route"], second["status"], second["problem"]) == ("other", refused.status_code, "not-found")
    assert second["request_id"] == refused.headers["x-request-id"]
    text = path.read_text()
    assert not any(secret in text for secret in ("secret", "quiet", "Authorization"))


def test_it_follows_rotation(ingress: Any, tmp_path: Path) -> None:
    path = tmp_path / "access.log"

    async def run() -> None:
        async with ingress.connect(access_log=path) as client:
            await client.get("/healthz")
            path.rename(tmp_path / "access.log.1")
            await client.get("/readyz")

    asyncio.run(run())
    assert [line["route"] for line in lines(tmp_path / "access.log.1")] == ["/healthz"]
    assert [line["route"] for line in lines(path)] == ["/readyz"]


def test_a_file_that_cannot_be_written_is_refused(ingress: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="access_log"):
        ingress.ask("GET", "/healthz", settings={"access_log": tmp_path / "missing" / "access.log"})


def test_lines_may_go_where_the_others_go(ingress: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with logging_as_before():
        configure(LogOptions(True, "error", "ingress"))
        ingress.ask("GET", "/healthz", settings={"access_log": Path("-"), "log_format": "json"})
    (line,) = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert (line["logger"], line["route"], line["status"]) == ("choreo.access", "/healthz", 200)
    with pytest.raises(InvalidInput, match="access_log"):
        ingress.ask("GET", "/healthz", settings={"access_log": Path("-")})
