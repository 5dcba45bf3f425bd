"""A Ray of our own on this machine: started on loopback in a folder of its own, and gone without a trace at the end."""

import contextlib
import io
import itertools
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

from choreo.errors import BackendUnavailable, InvalidInput
from serving.util.logs import adopt_foreign, in_json, say
from serving.util.surroundings import prepare
from serving.util.temporary import safe_folder, temporary_folders

log = logging.getLogger(__name__)

PREFIX = "choreo-ray-"
LOGICAL_CPUS = 4
"""CPUs that Ray believes in. Its actors ask for fractions of them, so it must not be few on a small machine."""
OBJECT_STORE_BYTES = 200 << 20
ATTEMPTS = 3
CONNECT_S = 5.0
SHUTDOWN_S = 3.0
LONGEST = 16
"""Characters of the folder that a session's folder is in."""
PATIENCE_S = 10.0
"""How long processes that were told to end may take before they are killed."""

HEAD, NODE = "gcs_server", "raylet"
CHATTY = ("authentication.authentication_token_setup", "services")
"""Modules of `ray._private`."""
SPARE_PROCESSES = ("start_monitor", "start_api_server")
"""Methods of Ray's `Node` that start its autoscaler and its dashboard (with `include_dashboard=False`, what is left of
it): 75 MiB each, and nothing here asks them anything."""
LOG_READER = "start_log_monitor"
"""The same for the process that passes on what workers print; they write it into their files in any case."""
POLL_S = 0.25
_PROGRAMS = ("python", NODE, HEAD)
_ENVIRONMENT = (
    ("RAY_USAGE_STATS_ENABLED", "0"),
    # By default replicas are as nice as batch work: the one that composes waves would wait for the processor behind
    # those that compute them, at every step.
    ("RAY_worker_niceness", "0"),
    # A call between replicas costs less without threads for each of Ray's own loops. The length of a message is that of
    # the file of an hour of motion, and more.
    ("RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD", "0"),
    ("RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP", "0"),
    ("RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH", str(1 << 30)),
    # Ten times a second by default, for as long as nothing changes.
    ("RAY_SERVE_CONTROL_LOOP_INTERVAL_S", "0.5"),
    # A replica that hangs cannot be asked to end.
    ("RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS", "1"),
    # Without it most servers of this Ray would listen on all interfaces. The name is historical.
    ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0"),
)


class RaySession:
    """Context manager around `ray.init` and `ray.shutdown`.

    Enter it from a thread that lives as long as the session, the main thread for instance: the kernel ends Ray's
    processes with that thread. While it lasts, this process's standard output leads to standard error, because Ray
    prints messages there at any time.

    Args:
        address: a running cluster to connect to; empty: start one. A cluster that was not started is not stopped.
        log_to_driver: show what the workers print.
    """

    def __init__(self, address: str = "", log_to_driver: bool = False) -> None:
        self._address = address
        self._log_to_driver = log_to_driver
        self._exit = contextlib.ExitStack()
        self._diverted = _Diverted()
        self._vital: dict[str, psutil.Process] = {}
        self.folder: Path | None = None

    def __enter__(self) -> "RaySession":
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def processes(self) -> list[psutil.Process]:
        """Ray's processes of this session that are running."""
        return [] if self.folder is None else session_processes(self.folder)

    def is_owner(self) -> bool:
        """Whether the session's head still runs, which everything else of Ray asks."""
        return HEAD in self._vital and not self.has_lost(HEAD)

    def has_lost(self, name: str) -> bool:
        """Whether one of the session's own processes, `HEAD` or `NODE`, has ended."""
        return name in self._vital and not any(_living([self._vital[name]]))

    def silence_logs(self) -> None:
        """Drop what Ray prints from here on: it reports the end of its actors as failures."""
        self._diverted.silent = True

    def _start(self) -> None:
        prepare()
        self._exit.enter_context(contextlib.redirect_stdout(self._diverted))
        for name, value in () if self._address else _ENVIRONMENT:
            os.environ.setdefault(name, value)
        import ray

        if ray.is_initialized():
            raise BackendUnavailable("this process is already connected to a Ray cluster")
        adopt_foreign()
        with _signal_handlers_kept():
            if self._address:
                self._connect()
            else:
                sweep_stale()
                self._start_cluster_patiently()

    def _connect(self) -> None:
        import ray

        host, _, port = self._address.rpartition(":")
        try:
            if port.isdecimal():  # Ray itself would try for minutes
                socket.create_connection((host.rpartition("/")[2].strip("[]"), int(port)), CONNECT_S).close()
            ray.init(self._address, log_to_driver=self._log_to_driver, logging_level="WARNING")
        except (OSError, ValueError, OverflowError, RuntimeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise InvalidInput("ray_address", f"no Ray cluster answers at {self._address[:64]!r}: {reason}") from error

    def _start_cluster_patiently(self) -> None:
        """Ray gives its processes a fixed time to find each other, which is short on a machine that is busy."""
        for attempt in range(ATTEMPTS):
            try:
                return self._start_cluster()
            except Exception as error:  # Ray raises bare Exceptions here
                if attempt == ATTEMPTS - 1:
                    raise BackendUnavailable(f"Ray could not be started: {error}") from error
                log.warning("Ray could not be started, trying again: %s", error)
                self._end_cluster()

    def _start_cluster(self) -> None:
        import ray

        # Unix sockets below it have paths of at most 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=safe_folder(LONGEST)))
        # Ray reads it once per process, and would otherwise write one into the home folder.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        spare = SPARE_PROCESSES if self._log_to_driver else (*SPARE_PROCESSES, LOG_READER)
        with _on_loopback(), _without_chatter(), _without(spare):
            ray.init(
                "local",
                num_cpus=LOGICAL_CPUS,
                num_gpus=0,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=self._log_to_driver,
                logging_level="WARNING",
                _temp_dir=str(self.folder),
                _node_ip_address="127.0.0.1",
            )
        self._vital = {p.name(): p for p in _living(self.processes()) if p.name() in (HEAD, NODE)}

    def _end_cluster(self) -> None:
        import ray

        try:
            # It may wait for a process that does not end; all that are left are ended below.
            within(ray.shutdown, SHUTDOWN_S, "ray.shutdown", lambda: not self.has_lost(HEAD))
        finally:
            self._vital = {}
            if self.folder is not None:
                end_session(self.folder)
                self.folder = None

    def _stop(self) -> None:
        self.silence_logs()
        with uninterrupted(), self._exit:
            self._end_cluster()


class _Diverted(io.TextIOBase):
    """Standard output that leads to standard error."""

    def __init__(self) -> None:
        super().__init__()
        self.silent = False
        self._begun = ""

    def write(self, text: str) -> int:
        """Pass on, unless silent; as log lines where those are JSON."""
        if self.silent:
            return len(text)
        if not in_json():
            return sys.stderr.write(text)
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(str.strip, lines):
            say(line, logging.WARNING)
        return len(text)

    def flush(self) -> None:
        """Pass on."""
        sys.stderr.flush()


def session_processes(folder: Path) -> list[psutil.Process]:
    """Processes, but this one, that name a session's folder in their command or have a file in it open.

    Ray's workers rename themselves and change parents, but their logs are always open.
    """
    return [p for p in psutil.process_iter() if p.pid != os.getpid() and _belongs(p, f"{folder}/")]


def _living(processes: Sequence[psutil.Process]) -> Iterator[psutil.Process]:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process


def end_session(folder: Path) -> None:
    """End what is left of a session and remove its folder."""
    left = session_processes(folder)
    _, alive = psutil.wait_procs(left, timeout=1)  # what was asked to end is often just about to
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    psutil.wait_procs(alive, timeout=PATIENCE_S / 2)
    # New ones may have been started by those that had to end.
    for process in session_processes(folder):
        log.warning("killing process %d, which Ray left behind", process.pid)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
            process.wait(PATIENCE_S)
    shutil.rmtree(folder, ignore_errors=True)


def sweep_stale() -> None:
    """Remove what sessions left whose owners were killed."""
    for folder in itertools.chain.from_iterable(place.glob(f"{PREFIX}*-*") for place in temporary_folders()):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        try:
            ours = folder.stat().st_uid == os.getuid() and folder.is_dir() and not folder.is_symlink()
        except OSError:
            continue
        if ours and owner.isdigit() and not psutil.pid_exists(int(owner)):
            end_session(folder)


def within(
    work: Callable[[], object], seconds: float, what: str, keep_waiting: Callable[[], bool] = lambda: True
) -> bool:
    """Run something that may hang when Ray is broken; after the time, or when there is no hope, it is left alone.

    Returns:
        Whether it has ended.
    """
    done = threading.Thread(target=work, name=what, daemon=True)
    done.start()
    deadline = time.monotonic() + seconds
    while done.is_alive() and (left := deadline - time.monotonic()) > 0 and keep_waiting():
        done.join(min(left, POLL_S))
    return not done.is_alive()


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C does nothing meanwhile, so that cleaning up is done to the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Keeps Ray from replacing 127.0.0.1 by an address that others can reach."""
    from ray._private import ray_constants  # its children read the environment, but this process imported it long ago

    cluster = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = cluster


@contextlib.contextmanager
def _without(methods: Sequence[str]) -> Iterator[None]:
    """Keeps Ray from starting some of its processes, for which `ray.init` has no option."""
    from ray._private.node import Node

    kept = {name: getattr(Node, name) for name in methods}
    for name in methods:
        setattr(Node, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(Node, name, method)


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Ray announces its access token, and calls its usage reporter, which nobody here uses, a dashboard that failed.

    What really keeps it from starting it raises.
    """
    chatty = [logging.getLogger(f"ray._private.{name}") for name in CHATTY]
    levels = [logger.level for logger in chatty]
    for logger in chatty:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(chatty, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Ray puts a handler of its own on SIGTERM; the program decides that itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _belongs(process: psutil.Process, folder: str) -> bool:
    try:
        if process.uids().real != os.getuid() or not Path(process.exe()).name.startswith(_PROGRAMS):
            return False  # somebody may be reading a log
        if any(folder in argument for argument in process.cmdline()):
            return True
        links = Path(f"/proc/{process.pid}/fd")
        return any(os.readlink(link).startswith(folder) for link in links.iterdir())
    except (OSError, psutil.Error):
        return False
