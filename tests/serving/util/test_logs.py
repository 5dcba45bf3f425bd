"""Log lines: their shape, what they are about, and the way from a child process to the command's standard error."""

import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from logging_as_before import logging_as_before
from recorded_spans import recorded_spans

from serving.util import logs, tracing
from serving.util.log_socket import MAX_BYTES, LogReceiver
from serving.util.logs import LogOptions, about, adopt_foreign, configure, in_json, say

log = logging.getLogger("serving.test")
CHILD = """
import logging, sys
from serving.util.logs import LogOptions, about, configure
configure(LogOptions(True, "info", f"child-{sys.argv[2]}", sys.argv[1]))
with about(request_id="r-1"):
    for number in range(int(sys.argv[3])):
        logging.getLogger("serving.child").info("line %d", number)
"""


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    with logging_as_before():
        yield


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


def test_text_is_a_level_and_a_message(capfd: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions())
    log.warning("a queue is %s", "full")
    log.info("nobody asked for this")
    assert capfd.readouterr().err == "WARNING a queue is full\n"
    assert not in_json()
    assert not say("serving")


def test_a_line_of_json_says_what_it_is_about(capfd: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions(True, "info", "sampler"))
    with about(request_id="r-1", job_id="job-1"), about(model="unet-small"):
        log.info("a queue is %s", "full")
    log.info("alone")
    log.debug("nobody asked for this")
    first, second = lines(capfd)
    assert [datetime.fromisoformat(line.pop("time")).tzinfo for line in (first, second)] == [UTC, UTC]
    shape = {"level": "INFO", "logger": "serving.test", "component": "sampler", "process": os.getpid()}
    known = {"request_id": "r-1", "job_id": "job-1", "model": "unet-small"}
    assert first == shape | known | {"message": "a queue is full"}
    assert second == shape | {"message": "alone"}


def test_a_line_within_a_trace_names_it(capfd: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions(True))
    with recorded_spans() as recorded, tracing.root("dance"):
        log.warning("inside")
    (line,) = lines(capfd)
    context = recorded.one("dance").context
    assert (line["trace_id"], line["span_id"]) == (format(context.trace_id, "032x"), format(context.span_id, "016x"))


def test_odd_records_are_one_line_of_json_each(capfd: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions(True))
    try:
        raise ValueError("line one\nline two")
    except ValueError:
        log.exception("it failed\nbadly")
    log.warning("x" * 10 * logs.MAX_CHARS)
    warnings.warn("by a library", stacklevel=1)
    failed, long, warned = lines(capfd)
    assert failed["message"] == "it failed\nbadly"
    assert (failed["exception"]["type"], failed["exception"]["message"]) == ("ValueError", "line one\nline two")
    assert failed["exception"]["traceback"].startswith("Traceback")
    assert len(long["message"]) == logs.MAX_CHARS
    assert (warned["logger"], "by a library" in warned["message"]) == ("py.warnings", True)


def test_a_lone_surrogate_can_be_written() -> None:
    # Not logged: what the test runner keeps of it could not be sent between its processes.
    record = logging.LogRecord("serving", logging.ERROR, "", 0, "a lone surrogate: \ud800", None, None)
    line = logs.JsonFormatter("sampler").format(record)
    assert json.loads(line.encode())["message"].startswith("a lone surrogate")


def test_libraries_say_nothing_below_info(capfd: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions(True, "debug"))
    for name in ("serving.test", "choreo.test", "a_library", "httpx"):
        logging.getLogger(name).debug("details")
        logging.getLogger(name).info("done")
    found = [(line["logger"], line["message"]) for line in lines(capfd)]
    own = [(name, message) for name in ("serving.test", "choreo.test") for message in ("details", "done")]
    assert found == [*own, ("a_library", "done")]


def test_the_longest_line_fits_the_socket() -> None:
    kind: type[Exception] = type("\u2603" * 100, (Exception,), {})
    error = kind("\u2603" * 10 * logs.MAX_CHARS)
    record = logging.LogRecord(
        "serving", logging.ERROR, "", 0, "\u2603" * 10 * logs.MAX_CHARS, None, (kind, error, None)
    )
    assert len(logs.JsonFormatter("sampler").format(record).encode()) < MAX_BYTES


def test_what_a_user_must_see_is_there_at_every_level(capfd: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions(True, "error", "serve"))
    assert say("serving on http://127.0.0.1:8000  (docs)")
    (line,) = lines(capfd)
    assert (line["level"], line["message"]) == ("INFO", "serving on http://127.0.0.1:8000  (docs)")


def test_defects_of_threads_are_lines(capfd: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions(True))
    thread = threading.Thread(target=lambda: 1 // 0)
    thread.start()
    thread.join()
    (line,) = lines(capfd)
    assert (line["level"], line["exception"]["type"]) == ("CRITICAL", "ZeroDivisionError")


def test_lines_of_ray_have_the_same_shape(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    own, kept = logging.getLogger("ray.serve"), logging.FileHandler(tmp_path / "serve.log")
    own.propagate = False
    own.handlers[:] = [logging.StreamHandler(), kept]
    configure(LogOptions(True))
    adopt_foreign()
    own.warning("a replica is slow")
    kept.close()
    (line,) = lines(capfd)
    assert (line["logger"], line["message"]) == ("ray.serve", "a replica is slow")
    assert (tmp_path / "serve.log").read_text() == "a replica is slow\n"


def children(path: str, count: int, each: int) -> list[subprocess.CompletedProcess[str]]:
    started = [
        subprocess.Popen([sys.executable, "-c", CHILD, path, str(i), str(each)], stderr=subprocess.PIPE, text=True)
        for i in range(count)
    ]
    return [subprocess.CompletedProcess(p.args, p.wait(), stderr=p.communicate()[1]) for p in started]


def test_lines_of_other_processes_arrive_whole_and_in_order(capfd: pytest.CaptureFixture[str]) -> None:
    with LogReceiver() as receiver:
        folder = Path(receiver.path).parent
        assert [(child.returncode, child.stderr) for child in children(receiver.path, 2, 200)] == [(0, "")] * 2
    got = lines(capfd)
    for i in range(2):
        own = [line for line in got if line["component"] == f"child-{i}"]
        assert [line["message"] for line in own] == [f"line {number}" for number in range(200)]
        assert {line["request_id"] for line in own} == {"r-1"}
    assert not folder.exists()


def test_lines_that_nobody_takes_are_on_the_own_standard_error(tmp_path: Path) -> None:
    (child,) = children(str(tmp_path / "nowhere"), 1, 3)
    assert child.returncode == 0
    assert [json.loads(line)["message"] for line in child.stderr.splitlines()] == ["line 0", "line 1", "line 2"]


def test_a_silent_receiver_drops_lines(capfd: pytest.CaptureFixture[str]) -> None:
    with LogReceiver() as receiver:
        receiver.silent = True
        children(receiver.path, 1, 3)
    assert lines(capfd) == []
