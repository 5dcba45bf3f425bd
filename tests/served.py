"""`choreo serve` as a process of its own, its parts by name, and what must be gone after it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import psutil
from waiting import wait_until

ROOT = Path(__file__).resolve().parents[1]
DANCE = {"text_prompt": "a slow waltz", "num_steps": 4, "duration": 3.0, "use_rag": False}
SEGMENTS = Path("/dev/shm")
PROMPTLY_S = 1.5
"""Within which a probe is answered, with some room for a busy machine."""


@dataclass
class Command:
    """A running `choreo serve`."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)
    url: str = ""

    def listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"serving on (http://\S+)", line):
                self.url = found[1]

    def dance(self, **fields: Any) -> httpx.Response:
        """One request for a motion."""
        return httpx.post(f"{self.url}/v1/generate", json=DANCE | fields, timeout=120, trust_env=False)

    def probe(self) -> int:
        began = time.monotonic()
        status = httpx.get(f"{self.url}/readyz", timeout=10, trust_env=False).status_code
        assert time.monotonic() - began < PROMPTLY_S
        return status

    def in_flight(self) -> int:
        """Requests that are being served, the question for it left out."""
        lines = httpx.get(f"{self.url}/metrics", trust_env=False).text.splitlines()
        return (
            round(float(next(line for line in lines if line.startswith("choreo_requests_in_flight ")).split()[1])) - 1
        )

    def works(self) -> bool:
        try:
            return self.dance().status_code == 200
        except httpx.HTTPError:
            return False

    def parts(self) -> list[psutil.Process]:
        """The command and all its processes."""
        command = psutil.Process(self.process.pid)
        return [command, *command.children(recursive=True)]

    @property
    def shared_memory(self) -> Path:
        """Its /dev/shm, as this process sees it."""
        return Path(f"/proc/{self.process.pid}/root{SEGMENTS}")

    def restarts(self) -> dict[str, float]:
        """How often each part was started again, as the metrics tell it."""
        text = httpx.get(f"{self.url}/metrics", timeout=30, trust_env=False).text
        found = re.findall(r'^choreo_restarts_total{part="(\w+)"} (\S+)$', text, re.MULTILINE)
        return {part: float(count) for part, count in found}

    def part(self, name: str) -> psutil.Process:
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if name in f"{process.name()} {' '.join(process.cmdline())}":
                    return process
            except psutil.Error:
                continue
        raise LookupError(name)


@contextmanager
def serving(
    folder: Path,
    repository: Path,
    files: int | None = None,
    memory_mib: int | None = None,
    models: tuple[str, ...] = (),
    **environment: str,
) -> Iterator[Command]:
    """The command in a folder; afterwards it has ended, and nothing of it is left.

    Args:
        files: limit of open files.
        memory_mib: size of a /dev/shm of its own, which takes root to make.
        models: names or folders of checkpoints; none: the shipped one.
    """
    command = [sys.executable, "-m", "serving.cli.main", "serve", "--port", "0"]
    command += [word for model in models for word in ("--model", model)]
    own = {"PYTHONPATH": str(ROOT), "CHOREO_MODEL_REPO": str(repository), "TMPDIR": str(folder)}
    if files is not None:
        command = ["prlimit", f"--nofile={files}:{files}", *command]
    if memory_mib is not None:
        mount = f'mount -t tmpfs -o size={memory_mib}m tmpfs {SEGMENTS} && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", mount, "sh", *command]
    process = subprocess.Popen(
        command, cwd=folder, env=os.environ | own | environment, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    server = Command(process)
    listening = Thread(target=server.listen, daemon=True)
    listening.start()
    try:
        wait_until(lambda: server.url or process.poll() is not None, 240)
        assert server.url, "".join(server.said)
        yield server
        parts = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        process.wait(120)
        listening.join(10)
    finally:
        process.kill()
        process.wait()
    assert not [part for part in parts if part.is_running() and part.status() != psutil.STATUS_ZOMBIE]
    for place in (SEGMENTS, Path("/tmp"), folder):
        assert not [path for path in place.glob("choreo-*") if f"-{process.pid}-" in path.name]
