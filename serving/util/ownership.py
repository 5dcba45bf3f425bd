"""Names that say which process owns a file or a shared-memory segment, and the removal of what killed owners left."""

import os
import re
import secrets
import shutil
from pathlib import Path

from serving.util.temporary import temporary_folders

SHARED_MEMORY = Path("/dev/shm")

_OWNED = re.compile(r"choreo-(?P<namespace>[0-9]+)-(?P<pid>[0-9]+)-(?P<started>[0-9]+)-")


def owner_prefix() -> str:
    """A new name prefix that says which process owns what bears it, and cannot collide with a recycled process id."""
    return f"choreo-{_pid_namespace()}-{os.getpid()}-{_start_ticks(os.getpid())}-{secrets.token_hex(4)}-"


def is_dead(name: str) -> bool:
    """Whether the process that a name with `owner_prefix` in it belongs to is known to live no longer.

    Of processes in another PID namespace nothing is known.
    """
    owner = _OWNED.match(name)
    if owner is None or int(owner["namespace"]) != _pid_namespace():
        return False
    return _start_ticks(int(owner["pid"])) != int(owner["started"])


def sweep(prefix: str) -> None:
    """Remove the shared-memory segments with a prefix."""
    for path in SHARED_MEMORY.glob(f"{prefix}*"):
        _remove(path)


def sweep_stale() -> None:
    """Remove segments and folders whose owner no longer lives.

    Owners in another PID namespace cannot be judged from here (containers may share /dev/shm) and are left alone.
    """
    sweep_stale_segments()
    for folder in temporary_folders():
        _sweep_stale(folder)


def sweep_stale_segments() -> list[str]:
    """Remove the shared-memory segments whose owner no longer lives; their names."""
    return _sweep_stale(SHARED_MEMORY)


def free_shared_memory() -> int:
    """Bytes of shared memory that nobody has taken; 0 where there is none."""
    try:
        return shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        return 0


def _sweep_stale(folder: Path) -> list[str]:
    removed = []
    for path in folder.glob("choreo-*"):
        if is_dead(path.name):
            _remove(path)
            removed.append(path.name)
    return removed


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
