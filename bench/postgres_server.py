"""A PostgreSQL of one's own for tests and benchmarks: in a temporary folder, on a free port of this machine only."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from choreo.errors import BackendUnavailable, MissingDependency

PLACES: Final = tuple(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))
START_S: Final = 60.0
STOP_S: Final = 20.0
POLL_S: Final = 0.05


def postgres_programs() -> Path | None:
    """The folder of `initdb` and `postgres`, or None where PostgreSQL is not installed."""
    for folder in PLACES:
        if (folder / "initdb").is_file() and (folder / "postgres").is_file():
            return folder
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found and shutil.which("postgres") else None


@contextmanager
def postgres(programs: Path, durable: bool = False) -> Iterator[str]:
    """A server; yields the URL of its database `postgres`. Afterwards nothing of it is left.

    Args:
        programs: from `postgres_programs`.
        durable: whether commits are forced to disk, as they are in earnest.

    Raises:
        BackendUnavailable: it did not start.
        MissingDependency: PostgreSQL refuses to run as root, and there is no other user to run it as.
    """
    user, folder = _user(), Path(tempfile.mkdtemp(prefix="choreo-postgres-"))
    if user is not None:
        shutil.chown(folder, user)
    try:
        data, port = folder / "data", _free_port()
        make: list[str | Path] = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "test",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "-N",
        ]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL, user=user, cwd=folder, env={})
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on" if durable else "off",
            "max_connections": 60,
        }
        run: list[str | Path] = [programs / "postgres", "-D", data, "-p", str(port)]
        for name, value in options.items():
            run += ["-c", f"{name}={value}"]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(run, stderr=log, stdout=log, user=user, cwd=folder, env={})
        try:
            url = f"postgresql://test@127.0.0.1:{port}/postgres"
            _wait_until_it_answers(url, server, folder / "log")
            yield url
        finally:
            server.send_signal(signal.SIGINT)  # "fast": connections that are open are ended
            try:
                server.wait(STOP_S)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_it_answers(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + START_S
    while True:
        if server.poll() is not None or time.monotonic() > deadline:
            raise BackendUnavailable(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}")
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            time.sleep(POLL_S)


def _user() -> str | None:
    """Whom to run it as: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise MissingDependency("PostgreSQL does not run as root, and neither postgres nor nobody is a user here")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
