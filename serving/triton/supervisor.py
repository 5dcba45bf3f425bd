"""The supervisor of one local Triton server: start, canary, restart, stop.

A server counts as healthy when an inference on every model succeeds. Its own readiness does not: it goes on reporting
ready after the process that runs a model has died.
"""

import atexit
import logging
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from choreo.errors import BackendUnavailable, ChoreoError
from export.repository import served
from serving.triton.canary import Answer, Canary
from serving.triton.launch import HOST, Launch, TritonSettings
from serving.triton.output import ServerOutput
from serving.triton.process import Installation, all_alive, descendants, end, exited, free_ports, port_taken
from serving.triton.served_models import ServedModels
from serving.util.logs import in_json
from serving.util.ownership import owner_prefix, sweep, sweep_stale
from serving.util.temporary import safe_folder

_LOG = logging.getLogger(__name__)
_FIRST_ATTEMPTS = 3
_ERROR_LINE = re.compile(r"[EF]\d{4} ")
_ERROR_LINES = 5
_BROKEN_S = 5.0
"""Failing answers for this long mean that a server which has started will not work."""


class TritonServer:
    """One tritonserver over one model repository, restarted whenever it stops answering.

    All processes are started from one thread that lives until `stop`, because the kernel ends them with that thread.
    If this process is killed, the server ends by itself; what stays of it on disk is removed by the next start.
    """

    def __init__(self, repository: Path, settings: TritonSettings | None = None) -> None:
        self.settings = settings or TritonSettings()
        self.restarts = 0
        self._repository = repository.resolve()
        self._ports = (self.settings.grpc_port, self.settings.metrics_port)
        self._lock = threading.RLock()  # `stop` may come from a signal handler in the middle of `start`
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._started: Future[None] = Future()
        self._owner = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._canary: Canary | None = None
        self._canary_turn = threading.Lock()
        self._log: Path | None = None
        self._output: ServerOutput | None = None
        self._answered_at: float | None = None
        self._leases: Path | None = None

    @property
    def leases(self) -> Path | None:
        """Folder that says what is served and who uses it (`serving.engines.leases`), while the server runs."""
        return self._leases

    @property
    def grpc_url(self) -> str:
        """Address for gRPC clients, the same over restarts; a port of 0 before the first start."""
        return f"{HOST}:{self._ports[0]}"

    @property
    def metrics_url(self) -> str:
        """Address of the Prometheus metrics."""
        return f"http://{HOST}:{self._ports[1]}/metrics"

    @property
    def pid(self) -> int | None:
        """Process id of the server; None when there is none."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    @property
    def watched(self) -> bool:
        """Whether the supervisor looks after the server; it does from `start` to `stop`."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the server and wait until every model has answered a canary. Does nothing when it runs.

        Raises:
            MissingDependency: no server or no model repository on this machine.
            InvalidArtifact: a model configuration cannot be read.
            BackendUnavailable: it ended or did not answer in time; the message ends with the tail of its log.
        """
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._started = Future()
                served(self._repository)  # refuse at once what cannot be served
                arguments = (Installation.find(), self._started)
                self._stopping.clear()
                self._owner = os.getpid()
                self._thread = threading.Thread(target=self._run, args=arguments, name="triton", daemon=True)
                self._thread.start()
                atexit.register(self.stop)
            started = self._started
        try:
            started.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server and remove everything it left on this machine. May be called at any time, and twice."""
        self._stopping.set()
        with self._lock:
            # A forked child inherits this object and its exit handlers, but neither the thread nor the server.
            if self._thread is not None and self._owner == os.getpid():
                self._thread.join()
            self._thread = None
            atexit.unregister(self.stop)

    def healthy(self, max_age_s: float = 0.0) -> bool:
        """Whether every model answers now, or was seen to answer at most `max_age_s` seconds ago."""
        process, canary, seen = self._process, self._canary, self._answered_at
        if process is None or canary is None or seen is None or exited(process):
            return False
        if time.monotonic() - seen <= max_age_s:
            return True
        if canary.ask() is not Answer.GOOD:
            return False
        if self._canary is canary:  # not replaced by a restart in the meantime
            self._answered_at = time.monotonic()
        return True

    @contextmanager
    def without_canaries(self) -> Iterator[None]:
        """Inside, Triton's counters are of other people's rows alone: processes are looked at, but nothing is asked."""
        with self._canary_turn:
            yield

    def log_tail(self, lines: int = 25) -> str:
        """The last errors and the last lines of the server's log, without the borders of its tables."""
        if self._log is None or not self._log.is_file():
            return ""
        with self._log.open("rb") as file:
            file.seek(max(0, self._log.stat().st_size - (64 << 10)))
            text = file.read().decode(errors="replace")
        kept = [line.rstrip()[:300] for line in text.splitlines() if line.strip() and not line.startswith("+-")]
        # A server that fails to start takes leave at length: what went wrong may stand far above the end.
        wrong = [line for line in kept[:-lines] if _ERROR_LINE.match(line)]
        return "\n".join(wrong[-_ERROR_LINES:] + kept[-lines:])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self, installation: Installation, started: Future[None]) -> None:
        """The supervisor's thread: the server lives inside this call."""
        prefix = owner_prefix()
        work: Path | None = None
        try:
            sweep_stale()
            # Triton starts the processes of models by a shell line with the paths of their folders in it, unquoted.
            work = Path(tempfile.mkdtemp(prefix=prefix, dir=safe_folder()))
            self._log = self.settings.log_file or work / "triton.log"
            self._log.parent.mkdir(parents=True, exist_ok=True)
            self._output = ServerOutput(self._log) if in_json() else None
            launch = Launch(installation, ServedModels(self._repository, work), work, prefix, self._log, self.settings)
            self._leases = launch.models.leases
            self._first_start(launch)
            started.set_result(None)
            self._watch(launch)
        except BaseException as error:
            if started.done():
                _LOG.exception("the Triton supervisor failed")
            else:
                started.set_exception(error)
        finally:
            self._end_server(self.settings.exit_timeout_s + 3.0)
            sweep(prefix)
            if work is not None:
                shutil.rmtree(work, ignore_errors=True)

    def _first_start(self, launch: Launch) -> None:
        """Start the server; one that crashes is started again, a few times.

        Raises:
            BackendUnavailable: it ended every time, did not answer in time, or `stop` was called.
        """
        delay = self.settings.first_delay_s
        for attempt in range(1, _FIRST_ATTEMPTS + 1):
            free = free_ports(2)
            self._ports = (self.settings.grpc_port or free[0], self.settings.metrics_port or free[1])
            try:
                return self._start_server(launch)
            except BackendUnavailable as error:
                self._end_server(0)
                sweep(launch.prefix)
                # Between the choice of a port and the server's bind anybody may take it.
                robbed = self._ports == tuple(free) and any(map(port_taken, free))
                if attempt == _FIRST_ATTEMPTS or not (robbed or isinstance(error, _Ended)):
                    raise
                if not robbed:
                    _LOG.warning("the Triton server ended while it started, trying again")
                if self._stopping.wait(delay):
                    raise
                delay *= 4

    def _start_server(self, launch: Launch) -> None:
        """Start a server on the chosen ports and wait for its first answers.

        Raises:
            BackendUnavailable: it ended, did not answer in time, or `stop` was called.
        """
        self._process = launch.spawn(self._ports)
        self._canary = canary = Canary(self.grpc_url, launch.prefix, self.settings.canary_timeout_s)
        began = working = time.monotonic()
        while (answer := self._first_answer(launch, canary)) is not Answer.GOOD:
            self._pass_output_on()
            now = time.monotonic()
            working = working if answer is Answer.BROKEN else now
            if self._stopping.wait(0.05):
                raise BackendUnavailable("the Triton server was stopped while it started")
            if exited(self._process):
                status = end(self._process, 0)
                raise _Ended(str(self._failed_start(f"ended with status {status} while it started")))
            if now - began > self.settings.start_timeout_s:
                raise self._failed_start(f"did not answer within {self.settings.start_timeout_s:g} s")
            if now - working > _BROKEN_S:
                raise self._failed_start("started, but a canary inference fails")
        self._answered_at = time.monotonic()

    def _first_answer(self, launch: Launch, canary: Canary) -> Answer:
        """Ask what the server has loaded; publish it, and ask each of the models.

        Raises:
            BackendUnavailable: it has loaded nothing, which it did before it began to answer.
        """
        ready = canary.ready_models()
        if ready is None:
            return Answer.NONE
        launch.models.loaded(self.grpc_url, ready)
        if not launch.models.configs:
            raise self._failed_start("could load no model")
        canary.watch(launch.models.configs)
        return canary.ask()

    def _failed_start(self, what: str) -> BackendUnavailable:
        return BackendUnavailable(f"the Triton server {what}:\n{self.log_tail()}")

    def _watch(self, launch: Launch) -> None:
        """Restart the server whenever it has died or stopped answering, until `stop`."""
        delay = self.settings.first_delay_s
        while not self._stopping.is_set():
            since = time.monotonic()
            problem = self._wait_for_problem(launch)
            self._answered_at = None
            if problem is None:
                return
            if time.monotonic() - since >= self.settings.lasting_s:
                delay = self.settings.first_delay_s
            _LOG.warning("restarting the Triton server: %s", problem)
            delay = self._restart(launch, delay)

    def _restart(self, launch: Launch, delay: float) -> float:
        """Start again until it succeeds or `stop` is called; returns the delay before the next restart."""
        while True:
            self._end_server(0)
            sweep(launch.prefix)
            if self._stopping.wait(delay):
                return delay
            delay = min(2 * delay, self.settings.max_delay_s)
            launch.models.board.restarts = self.restarts + 1  # published with what the server has loaded
            try:
                self._start_server(launch)
            except (ChoreoError, OSError) as error:
                _LOG.warning("the Triton server did not come back, next attempt in %.1f s: %s", delay, error)
            else:
                self.restarts += 1
                return delay

    def _wait_for_problem(self, launch: Launch) -> str | None:
        """Block until something is wrong, and say what; None when `stop` was called."""
        process, canary = self._process, self._canary
        assert process is not None
        assert canary is not None
        stubs = descendants(process.pid)
        strikes = 0
        next_canary = time.monotonic() + self.settings.canary_period_s
        next_look = time.monotonic() + self.settings.models_poll_s
        while not self._stopping.wait(self.settings.poll_s):
            self._pass_output_on()
            problem = _death(process, stubs)
            if problem is None and time.monotonic() >= next_canary and self._canary_turn.acquire(blocking=False):
                try:
                    answer = canary.ask_idle()
                finally:
                    self._canary_turn.release()
                strikes = strikes + 1 if answer is Answer.NONE else 0
                if answer is Answer.GOOD:
                    self._answered_at = time.monotonic()
                elif answer is Answer.BROKEN or strikes >= self.settings.canary_strikes:
                    problem = "a canary inference failed"
                next_canary = time.monotonic() + (0 if strikes else self.settings.canary_period_s)
            if problem is None and not strikes and time.monotonic() >= next_look:
                if launch.models.follow(self.grpc_url):
                    canary.watch(launch.models.configs)
                    stubs = descendants(process.pid)
                next_look = time.monotonic() + self.settings.models_poll_s
            if problem is not None:
                return problem
        return None

    def _end_server(self, grace_s: float) -> None:
        self._answered_at = None
        process, canary, self._canary = self._process, self._canary, None
        if canary is not None:
            canary.close()
        if process is not None:
            end(process, grace_s)
            self._pass_output_on()
        self._process = None

    def _pass_output_on(self) -> None:
        """Where logs are JSON, log what the server has written; as text it is in its own log alone."""
        if self._output is not None:
            self._output.pass_on()


def triton_version() -> str:
    """Version of the installed server.

    Raises:
        MissingDependency: it is not installed.
        BackendUnavailable: it does not run on this machine.
    """
    return Installation.find().version()


class _Ended(BackendUnavailable):
    """A server ended while it started."""


def _death(process: subprocess.Popen[bytes], stubs: list[psutil.Process]) -> str | None:
    if exited(process):
        return "it has ended"
    return None if all_alive(stubs) else "a backend process has died"
