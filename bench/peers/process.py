"""A peer's process and its descendants: started, awaited, measured and ended."""

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx
import psutil

from bench.peers.table import Peer
from choreo.errors import BackendUnavailable
from serving.ray.session import uninterrupted
from serving.triton.process import end, exited, free_ports, spawn

START_S: Final = 300.0
STOP_S: Final = 60.0
KILL_S: Final = 5.0
KILLS: Final = 5
SETTLE_S: Final = 60.0
IDLE_CORES: Final = 0.15
"""Processor use, in cores, below which a peer counts as idle; Ray's processes are never entirely idle."""
SAMPLE_S: Final = 1.0
MEMORY_EVERY: Final = 5
"""Samples of processor time per sample of memory, for which the kernel walks all pages."""
_POLL_S: Final = 0.1
_SET_CHILD_SUBREAPER: Final = 36


class PeerProcess:
    """Context manager: a running peer; at exit, the peer and all its descendants are ended.

    Enter it from a thread that lives as long as the peer, because the kernel ends the peer with that thread.

    Args:
        peer: the peer to run.
        folder: folder of its log.
    """

    def __init__(self, peer: Peer, folder: Path) -> None:
        self.peer = peer
        (self._port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self._port}"
        self._log = folder / f"{peer.name}.log"
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Self:
        # Ray's workers outlive their parents; as a subreaper, this process becomes their parent and finds them.
        _adopt(True)
        self._exit.callback(_adopt, False)
        self._others = {process.pid for process in psutil.Process().children(recursive=True)}
        environment = os.environ | dict(self.peer.environment)
        self._process = spawn(self.peer.command(self._port), environment, Path.cwd(), self._log)
        self._exit.callback(self._end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def answer(self, path: str, body: dict[str, object], timeout_s: float = START_S) -> bytes:
        """Send a request until the peer answers it with 200, and return the body.

        Raises:
            BackendUnavailable: the peer ended, or did not answer in time; with the last lines of its log.
        """
        deadline, said = time.monotonic() + timeout_s, "nothing"
        with httpx.Client(base_url=self.url, trust_env=False) as client:
            while time.monotonic() < deadline and not exited(self._process):
                try:
                    answer = client.post(path, json=body, timeout=max(deadline - time.monotonic(), _POLL_S))
                except httpx.HTTPError as error:
                    said = type(error).__name__
                else:
                    if answer.status_code == httpx.codes.OK:
                        return answer.content
                    said = f"status {answer.status_code}"
                time.sleep(_POLL_S)
        what = "ended" if exited(self._process) else f"did not answer within {timeout_s:g} s, but with {said}"
        raise BackendUnavailable(f"{self.peer.name} {what}: {self._log_tail()}")

    def settle(self) -> None:
        """Wait until the peer is idle after its start, for at most a minute."""
        deadline, before = time.monotonic() + SETTLE_S, self._cpu_s()
        while time.monotonic() < deadline:
            time.sleep(SAMPLE_S)
            now = self._cpu_s()
            if now - before < IDLE_CORES * SAMPLE_S:
                return
            before = now

    def _cpu_s(self) -> float:
        total = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def processes(self) -> list[psutil.Process]:
        """The peer's processes that are running."""
        return [process for process in psutil.Process().children(recursive=True) if process.pid not in self._others]

    def _log_tail(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines() if self._log.exists() else []
        return " | ".join(line.strip()[:200] for line in lines[-3:] if line.strip())

    def _end(self) -> None:
        with uninterrupted():
            end(self._process, STOP_S)
            for _ in range(KILLS):  # children of a killed process become children of this one
                left = self.processes()
                for process in left:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                psutil.wait_procs(left, timeout=KILL_S)


@dataclass(frozen=True)
class Usage:
    """Resources that processes used.

    Attributes:
        cpu_s: seconds of user and system time by name of the process.
        peak_mib: largest observed sum of proportional set sizes, MiB.
    """

    cpu_s: dict[str, float]
    peak_mib: float


class Meter:
    """Context manager: measures processes between enter and exit; the result is `usage`.

    Args:
        processes: returns the running processes. It is called about once a second, so the last second of a process that
            ends meanwhile is lost.
    """

    def __init__(self, processes: Callable[[], list[psutil.Process]]) -> None:
        self._processes = processes
        self._first: dict[psutil.Process, float] = {}
        self._last: dict[psutil.Process, float] = {}
        self._names: dict[psutil.Process, str] = {}
        self._peak = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meter", daemon=True)
        self.usage = Usage({}, 0.0)

    def __enter__(self) -> Self:
        self._sample(memory=True, begin=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._sample(memory=True)
        used: dict[str, float] = {}
        for process, seconds in self._last.items():
            name = self._names[process]
            used[name] = used.get(name, 0.0) + seconds - self._first[process]
        self.usage = Usage(used, self._peak / 2**20)

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(SAMPLE_S):
            number += 1
            self._sample(memory=number % MEMORY_EVERY == 0)

    def _sample(self, memory: bool, begin: bool = False) -> None:
        total = 0
        for process in self._processes():
            try:
                times = process.cpu_times()
                total += process.memory_full_info().pss if memory else 0
                self._names.setdefault(process, label(process.cmdline()))
            except psutil.Error:
                continue
            spent = times.user + times.system
            self._first.setdefault(process, spent if begin else 0.0)
            self._last[process] = spent
        self._peak = max(self._peak, total)


def label(command: list[str]) -> str:
    """Name of a process in reports: its program, or the module that its interpreter runs."""
    if not command or not command[0]:
        return "unnamed"
    if "-m" in command[:-1]:
        return command[command.index("-m") + 1]
    return Path(command[0].split()[0]).name


def _adopt(on: bool) -> None:
    """Make this process the parent of descendants that lose theirs (PR_SET_CHILD_SUBREAPER), or stop doing so."""
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)
