"""What a run may leave behind: processes, listening ports and shared memory."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

OURS = ("tritonserver", "triton_python_backend_stub", "raylet", "gcs_server", "ray::", "plasma")


@dataclass(frozen=True)
class Leftovers:
    """Names of our kinds of processes, and the entries of /dev/shm; equal before and after a clean run."""

    processes: frozenset[tuple[int, str]]
    shared_memory: frozenset[str]
    ports: frozenset[int]

    @classmethod
    def now(cls) -> Self:
        """Look at this machine."""
        processes = set()
        for process in psutil.process_iter(["pid", "name", "cmdline", "status"]):
            text = " ".join([process.info["name"] or "", *(process.info["cmdline"] or [])])
            if process.info["status"] != psutil.STATUS_ZOMBIE and any(word in text for word in OURS):
                processes.add((process.info["pid"], text[:80]))
        shm = Path("/dev/shm")
        ports = {c.laddr.port for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.pid}
        return cls(frozenset(processes), frozenset(os.listdir(shm)) if shm.is_dir() else frozenset(), frozenset(ports))
