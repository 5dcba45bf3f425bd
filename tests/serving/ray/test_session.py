"""Clean-up after Ray, without Ray: stand-ins for its processes, and the port that a server listens on."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from logging_as_before import logging_as_before

from choreo.errors import InvalidInput
from serving.ray.app import free_port
from serving.ray.session import PREFIX, _Diverted, end_session, session_processes, sweep_stale, uninterrupted, within
from serving.util.logs import LogOptions, configure

Start = Callable[[str], psutil.Process]

WITH_OPEN_FILE = "import sys, time; log = open(sys.argv[1] + '/log', 'w'); print(flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WITH_OPEN_FILE


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts Python code with the session's folder as its argument."""
    children = []

    def run(code: str, folder: Path = tmp_path) -> psutil.Process:
        children.append(subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE))
        stdout = children[-1].stdout
        assert stdout is not None
        assert stdout.readline() == b"\n"  # it has come to the sleep
        return psutil.Process(children[-1].pid)

    yield run
    for child in children:
        child.kill()
        child.communicate()


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_finds_processes_by_their_open_files(start: Start, tmp_path: Path) -> None:
    # The working folder hides the argument, as a worker that renames itself does.
    code = f"import os, sys; os.chdir(sys.argv[1]); os.execv({sys.executable!r}, ['x', '-c', {WITH_OPEN_FILE!r}, '.'])"
    process = start(code)
    assert not any(str(tmp_path) in argument for argument in process.cmdline())
    assert [p.pid for p in session_processes(tmp_path)] == [process.pid]


@pytest.mark.parametrize("code", [WITH_OPEN_FILE, STUBBORN])
def test_ends_what_is_left_and_removes_the_folder(code: str, start: Start, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("serving.ray.session.PATIENCE_S", 1.0)
    process = start(code)
    end_session(tmp_path)
    assert is_gone(process)
    assert not tmp_path.exists()


def test_leaves_others_alone(start: Start, tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "mine-too"
    mine.mkdir()
    other.mkdir()
    neighbour = start(WITH_OPEN_FILE, other)  # type: ignore[call-arg]
    (mine / "log").touch()
    reader = subprocess.Popen(["tail", "-f", str(mine / "log")])
    try:
        end_session(mine)
        assert reader.poll() is None
        assert not is_gone(neighbour)
        assert other.exists()
    finally:
        reader.kill()
        reader.wait()


def test_sweeps_only_what_dead_owners_left() -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, kept = (Path(f"/tmp/{PREFIX}{pid}-test{os.getpid()}") for pid in (dead.pid, os.getpid()))
    try:
        left.mkdir()
        kept.mkdir()
        sweep_stale()
        assert not left.exists()
        assert kept.exists()
    finally:
        kept.rmdir()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C interrupts here even where the tests were started in the background, which ignores it."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("interruptible")
def test_clean_up_is_not_interrupted() -> None:
    with uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_work_that_hangs_is_left_alone() -> None:
    assert not within(threading.Event().wait, 0.05, "waiting")
    assert within(lambda: None, 60, "nothing")


def test_a_port_that_is_taken_or_free() -> None:
    assert free_port("127.0.0.1", 0) > 0
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InvalidInput) as caught:
            free_port("127.0.0.1", port)
        assert caught.value.field == "port"
    assert free_port("127.0.0.1", port) == port
    with pytest.raises(InvalidInput) as caught:
        free_port("no.such.host.invalid", 0)
    assert caught.value.field == "host"


def test_what_hangs_is_left_alone_as_soon_as_there_is_no_hope() -> None:
    release, asked = threading.Event(), iter([True, True, False])
    assert not within(release.wait, 3600, "waiting", lambda: next(asked))
    release.set()
    assert next(asked, None) is None  # asked until the answer was no


def test_what_ray_prints_is_on_standard_error_and_a_line_of_json_where_all_are(
    capfd: pytest.CaptureFixture[str],
) -> None:
    diverted = _Diverted()
    print("as text", file=diverted)
    with logging_as_before():
        configure(LogOptions(True, "error", "serve"))
        print("a node", "is slow\nand goes on", file=diverted)
        diverted.silent = True
        print("nobody hears this", file=diverted)
    first, *others = capfd.readouterr().err.splitlines()
    assert first == "as text"
    assert [json.loads(line)["message"] for line in others] == ["a node is slow", "and goes on"]
