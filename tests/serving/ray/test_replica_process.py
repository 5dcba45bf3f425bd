"""What a replica tells of itself from a process of its own: spans to a receiver, and log lines to the command."""

import asyncio
import json
import os
import pickle
import subprocess
import sys
from typing import Any

import pytest
from otlp_receiver import otlp_receiver
from recorded_spans import id_of, recorded_spans

from serving.ray.remote import call
from serving.util import logs, tracing
from serving.util.log_socket import LogReceiver
from serving.util.logs import LogOptions

REPLICA = """
import asyncio, pickle, sys
from serving.pipeline.contracts import RetrieveStage
from serving.ray.remote import replica_class

class Stage:
    async def library(self):
        return "a library"

options, arguments, given = pickle.load(sys.stdin.buffer)
replica = replica_class(RetrieveStage, Stage)(logs=options)
answer = asyncio.run(replica.library(*arguments, **given))
replica.__del__()
pickle.dump(answer, sys.stdout.buffer)
"""


class InChild:
    """A method of a handle whose replica is in a child process, which ends with the call."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options

    def remote(self, *arguments: Any, **given: Any) -> Any:
        async def answer() -> Any:
            question = pickle.dumps((self._options, arguments, given))
            done = await asyncio.to_thread(
                subprocess.run, [sys.executable, "-c", REPLICA], input=question, capture_output=True, timeout=300
            )
            assert done.returncode == 0, done.stderr.decode()
            assert done.stderr == b""
            return pickle.loads(done.stdout)

        return answer()


def test_spans_and_lines_of_a_replica_belong_to_the_request(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def run(path: str) -> None:
        with logs.about(request_id="r-1", model="tiny"), tracing.root("retrieve"):
            assert await call(InChild(LogOptions(True, "debug", "retriever", path))) == "a library"  # type: ignore[arg-type]

    with otlp_receiver() as receiver, LogReceiver() as lines, recorded_spans() as recorded:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)
        asyncio.run(run(lines.path))
    own = recorded.one("retrieve")
    (received,) = receiver.spans
    assert (received.name, received.resource["choreo.component"]) == ("RetrieveStage/library", "retriever")
    assert received.trace_id == format(own.context.trace_id, "032x")
    assert int.from_bytes(received.span.parent_span_id) == id_of(own)
    (line,) = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert line["process"] != os.getpid()
    assert (line["component"], line["level"], line["message"]) == (
        "retriever", "DEBUG", "RetrieveStage/library answered",
    )  # fmt: skip
    assert (line["request_id"], line["model"], line["trace_id"]) == ("r-1", "tiny", received.trace_id)
    assert line["span_id"] == received.span.span_id.hex()


def test_without_variables_nothing_is_sent_and_text_goes_to_the_own_standard_error() -> None:
    with otlp_receiver() as receiver:
        assert asyncio.run(call(InChild(LogOptions()))) == "a library"  # type: ignore[arg-type]
    assert receiver.spans == []
