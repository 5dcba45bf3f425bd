"""A Ray of our own on this machine: started on loopback in a folder of its own, and gone without a trace at the end."""

import contextlib
import io
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

from choreo.errors import BackendUnavailable

log = logging.getLogger(__name__)

PREFIX = "choreo-ray-"
LOGICAL_CPUS = 4
"""CPUs that Ray believes in. Its actors ask for fractions of them, so it must not be few on a small machine."""
OBJECT_STORE_BYTES = 200 << 20
ATTEMPTS = 3
PATIENCE_S = 10.0
"""How long processes that were told to end may take before they are killed."""

HEAD = "gcs_server"
POLL_S = 0.25
_PROGRAMS = ("python", "raylet", HEAD)
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
        return any(process.name() == HEAD for process in _living(self.processes()))

    def silence_logs(self) -> None:
        """Drop what Ray prints from here on: it reports the end of its actors as failures."""
        self._diverted.silent = True

    def _start(self) -> None:
        self._exit.enter_context(contextlib.redirect_stdout(self._diverted))
        for name, value in () if self._address else _ENVIRONMENT:
            os.environ.setdefault(name, value)
        import ray

        if ray.is_initialized():
            raise BackendUnavailable("this process is already connected to a Ray cluster")
        with _signal_handlers_kept():
            if self._address:
                ray.init(self._address, log_to_driver=self._log_to_driver, logging_level="WARNING")
            else:
                sweep_stale()
                self._start_cluster_patiently()

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
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir="/tmp"))
        # Ray reads it once per process, and would otherwise write one into the home folder.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        with _on_loopback():
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

    def _end_cluster(self) -> None:
        import ray

        try:
            within(ray.shutdown, PATIENCE_S, "ray.shutdown")
        finally:
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

    def write(self, text: str) -> int:
        """Pass on, unless silent."""
        return len(text) if self.silent else sys.stderr.write(text)

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
    for folder in Path("/tmp").glob(f"{PREFIX}*-*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        try:
            ours = folder.stat().st_uid == os.getuid() and folder.is_dir() and not folder.is_symlink()
        except OSError:
            continue
        if ours and owner.isdigit() and not psutil.pid_exists(int(owner)):
            end_session(folder)


def within(
    work: Callable[[], object], seconds: float, what: str, keep_waiting: Callable[[], bool] = lambda: True
) -> None:
    """Run something that may hang when Ray is broken; after the time, or when there is no hope, it is left alone."""
    done = threading.Thread(target=work, name=what, daemon=True)
    done.start()
    deadline = time.monotonic() + seconds
    while done.is_alive() and (left := deadline - time.monotonic()) > 0 and keep_waiting():
        done.join(min(left, POLL_S))
    if done.is_alive():
        log.warning("%s did not end", what)


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
    """Keeps Ray from replacing 127.0.0.1 by an address that others can reach, and from announcing its access token."""
    from ray._private import ray_constants  # its children read the environment, but this process imported it long ago

    announcer = logging.getLogger("ray._private.authentication.authentication_token_setup")
    level, cluster = announcer.level, ray_constants.ENABLE_RAY_CLUSTER
    announcer.setLevel(logging.ERROR)
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = cluster
        announcer.setLevel(level)


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
