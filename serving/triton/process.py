"""The tritonserver process: where its parts are, how it is started, and how nothing of it is left behind.

Everything a supervisor creates outside its own memory (shared-memory segments, a folder) carries a name that says which
process owns it, so a later start can remove what a killed one left.
"""

import ctypes.util
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from choreo.errors import BackendUnavailable, MissingDependency
from serving.util.temporary import safe_folder

STUB = "triton_python_backend_stub"

_VERSION_DEADLINE_S = 20.0

# Runs between fork and exec of the server. A preexec_fn would run Python in a fork of a process with threads and gRPC
# in it, which can deadlock. The kernel sends the signal when the *thread* that started the process ends.
_LAUNCHER = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class Installation:
    """Parts of the `nvidia-pytriton` wheel, and the interpreter its Python backend will run."""

    binary: Path
    backend: Path
    stub: Path
    caches: Path
    libraries: tuple[Path, ...]

    @classmethod
    def find(cls) -> "Installation":
        """Locate the installed server.

        Raises:
            MissingDependency: the wheel is not installed, or has no backend for this interpreter.
        """
        package = importlib.util.find_spec("pytriton")
        if package is None or package.origin is None:
            raise MissingDependency("no Triton server here; pip install nvidia-pytriton, or give --triton-url")
        root = Path(package.origin).parent / "tritonserver"
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        found = cls(
            binary=root / "bin" / "tritonserver",
            backend=root / "backends" / "python",
            stub=root / "python_backend_stubs" / version / STUB,
            caches=root / "caches",
            libraries=(root.parent.parent / "nvidia_pytriton.libs", *_libpython_folder()),
        )
        for path in (found.binary, found.backend / "libtriton_python.so", found.stub):
            if not path.is_file():
                raise MissingDependency(f"the nvidia-pytriton package has no {path.name} for Python {version}")
        return found

    def environment(self) -> dict[str, str]:
        """Environment in which the server finds its libraries and its stubs find this interpreter's packages."""
        packages = dict.fromkeys(sysconfig.get_paths()[key] for key in ("purelib", "platlib"))
        env = dict(os.environ)
        env["LD_LIBRARY_PATH"] = _joined(map(str, self.libraries), env.get("LD_LIBRARY_PATH"))
        env["PATH"] = _joined([str(Path(sys.executable).parent)], env.get("PATH"))
        env["PYTHONPATH"] = _joined(packages, env.get("PYTHONPATH"))
        # Python itself reads paths as UTF-8 in the locale C; the interpreter inside the stub does not.
        env["LC_ALL"] = "C.UTF-8"
        return env

    def link_backend(self, folder: Path) -> Path:
        """A backend directory in `folder` with the stub of this interpreter's version."""
        python = folder / "backends" / "python"
        python.mkdir(parents=True)
        for source in (
            self.backend / "libtriton_python.so",
            self.backend / "triton_python_backend_utils.py",
            self.stub,
        ):
            (python / source.name).symlink_to(source)
        return python.parent

    def version(self) -> str:
        """The server's own version, e.g. `2.51.0`, from a run without models and ports.

        Raises:
            BackendUnavailable: the server does not run on this machine.
        """
        with tempfile.TemporaryDirectory(prefix="choreo-version-", dir=safe_folder()) as empty:
            ports = [f"--allow-{name}=false" for name in ("http", "grpc", "metrics")]
            command = [str(self.binary), f"--model-repository={empty}", "--model-control-mode=explicit", *ports]
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.environment(), text=True
            )
            timer = threading.Timer(_VERSION_DEADLINE_S, process.kill)
            timer.start()
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    if found := re.search(r"server_version\s*\|\s*([0-9.]+)", line):
                        return found[1]
            finally:
                timer.cancel()
                process.kill()
                process.communicate()
        raise BackendUnavailable(f"tritonserver does not run here (exit status {process.returncode})")


def spawn(command: Sequence[str], env: dict[str, str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a process in its own session that gets SIGTERM when the calling thread ends; its output goes to `log`."""
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command]
    with log.open("ab") as out:
        return subprocess.Popen(
            launcher,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=folder,
            start_new_session=True,
        )


def exited(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process has ended. It is not reaped, so its group id stays reserved until `end` has used it."""
    if process.returncode is not None:
        return True
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def end(process: subprocess.Popen[bytes], grace_s: float) -> int:
    """End a process and its whole group; returns the exit status.

    It gets SIGINT and `grace_s` seconds, then whatever is left of its group is killed. With a grace of 0 it is killed.
    """
    if process.returncode is not None:
        return process.returncode
    members = descendants(process.pid)
    if grace_s > 0 and not exited(process):
        process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + grace_s
        while not exited(process) and time.monotonic() < deadline:
            time.sleep(0.02)
    # Stubs count a zombie as a living parent, so they are killed with the group before the server is reaped.
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    status = process.wait()
    psutil.wait_procs(members, timeout=5)
    return status


def descendants(pid: int) -> list[psutil.Process]:
    """Living processes below `pid`; empty when it is gone."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def all_alive(processes: Sequence[psutil.Process]) -> bool:
    """Whether every process still runs; a zombie, which is how a server keeps a dead backend process, does not."""
    try:
        return all(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)
    except psutil.NoSuchProcess:
        return False


def free_ports(count: int) -> list[int]:
    """Loopback TCP ports that are free at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [int(s.getsockname()[1]) for s in sockets]
    finally:
        for s in sockets:
            s.close()


def port_taken(port: int) -> bool:
    """Whether somebody listens on a loopback port."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _libpython_folder() -> tuple[Path, ...]:
    """The folder of the shared library of this interpreter, which the stub links to; empty if the loader knows it."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for folder in (sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib"):
        if folder and (Path(folder) / f"libpython{version}.so.1.0").exists():
            return (Path(folder),)
    if ctypes.util.find_library(f"python{version}"):
        return ()
    raise MissingDependency(
        f"Triton's Python backend needs libpython{version}.so.1.0; install it, or use an interpreter that has it"
    )


def _joined(parts: "Sequence[str] | dict[str, None] | map[str]", existing: str | None) -> str:
    return os.pathsep.join([*parts, *([existing] if existing else [])])
