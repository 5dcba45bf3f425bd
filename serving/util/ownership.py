"""Names that say which process owns a file or a shared-memory segment, and the removal of what killed owners left."""

import os
import re
import secrets
import shutil
import tempfile
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")

_OWNED = re.compile(r"choreo-(?P<namespace>[0-9]+)-(?P<pid>[0-9]+)-(?P<started>[0-9]+)-")


def owner_prefix() -> str:
    """A new name prefix that says which process owns what bears it, and cannot collide with a recycled process id."""
    return f"choreo-{_pid_namespace()}-{os.getpid()}-{_start_ticks(os.getpid())}-{secrets.token_hex(4)}-"


def sweep(prefix: str) -> None:
    """Remove the shared-memory segments with a prefix."""
    for path in SHARED_MEMORY.glob(f"{prefix}*"):
        _remove(path)


def sweep_stale() -> None:
    """Remove segments and folders whose owner no longer lives.

    Owners in another PID namespace cannot be judged from here (containers may share /dev/shm) and are left alone.
    """
    for folder in (SHARED_MEMORY, Path(tempfile.gettempdir())):
        for path in folder.glob("choreo-*"):
            owner = _OWNED.match(path.name)
            if owner is None or int(owner["namespace"]) != _pid_namespace():
                continue
            if _start_ticks(int(owner["pid"])) != int(owner["started"]):
                _remove(path)


def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def _start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if there is no such process or it is a zombie."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else int(fields[18])


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        path.unlink()
    except OSError:
        return
