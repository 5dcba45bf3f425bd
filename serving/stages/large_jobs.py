"""Long renderings in child processes: bounded in number, shared out by size, and killed when nobody waits for them."""

import asyncio
import math
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar, cast

from choreo.errors import BackendUnavailable, ChoreoError, DeadlineExceeded
from serving.util.ownership import owner_prefix
from serving.util.threads import Threads

T = TypeVar("T")

WORKER: Final = "serving.stages.finish_worker"
SIZES_S: Final = (5.0, 60.0, 600.0)
"""Bounds of the classes of jobs, seconds of work. A job waits only behind jobs of its own class, so no job waits behind
much larger ones."""
EACH: Final = 2
"""Jobs of one class at a time."""
NICENESS: Final = (4, 8, 12, 16)
"""Of the classes: what is small and what generates motion has the processor first."""


class LargeJobs:
    """Calls of functions of `serving.stages.finisher` in processes of their own.

    Args:
        ready: keep one process started, so that a job need not wait for its imports.
    """

    def __init__(self, ready: bool = False) -> None:
        self._turns = [asyncio.Semaphore(EACH) for _ in NICENESS]
        self._threads = Threads(EACH * len(NICENESS))
        self._ready = ready
        self._spare: _Worker | None = None
        self._running: set[_Worker] = set()
        self._closed = False

    async def run(self, work_s: float, deadline: float, function: Callable[..., T], *arguments: Any) -> T:
        """The result of one call. A caller that is cancelled leaves no process behind.

        Args:
            work_s: seconds that it will take, roughly.
            deadline: instant of `time.time` after which nobody wants the result; may be infinite.
            function: one of `serving.stages.finish_worker.CALLS`; the arguments are pickled.

        Raises:
            DeadlineExceeded: the deadline passed first.
            BackendUnavailable: the process was killed by somebody else.
            ChoreoError: what the call raised.
        """
        size = bisect_left(SIZES_S, work_s)
        left = None if math.isinf(deadline) else max(deadline - time.time(), 0)
        try:
            async with asyncio.timeout(left), self._turns[size]:
                answer = await self._ask(NICENESS[size], (function.__name__, *arguments))
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed in finishing") from error
        if isinstance(answer, ChoreoError):
            raise answer
        return cast(T, answer)

    def prepare(self) -> None:
        """Start the process for the next job, if one is to be ready."""
        if self._ready and not self._closed and (self._spare is None or self._spare.ended):
            self._spare = _Worker()

    def close(self) -> None:
        """Kill what runs, and take no more."""
        self._closed = True
        for worker in (*self._running, self._spare):
            if worker is not None:
                worker.kill()
        self._threads.close()

    async def _ask(self, niceness: int, arguments: tuple[Any, ...]) -> Any:
        if self._closed:
            raise BackendUnavailable("the finisher was closed")
        spare, self._spare = self._spare, None
        if spare is not None and spare.ended:
            spare.kill()
            spare = None
        worker = spare or _Worker()
        self._running.add(worker)
        try:
            self.prepare()
            answer = await self._threads.run(worker.ask, niceness, arguments)
        finally:
            worker.kill()
            self._running.discard(worker)
        if not answer:
            raise BackendUnavailable("a process that finished a motion was killed")
        return pickle.loads(answer)


class _Worker:
    """A child process for one job, in a group of its own, and the folder of its temporary files."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix=owner_prefix())
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path, "TMPDIR": self._folder},
            start_new_session=True,
        )

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def ask(self, niceness: int, arguments: tuple[Any, ...]) -> bytes:
        """The pickled answer; empty if the process failed or was killed. Blocking."""
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, niceness)
        answer, _ = self._process.communicate(pickle.dumps(arguments, pickle.HIGHEST_PROTOCOL))
        return answer if self._process.returncode == 0 else b""

    def kill(self) -> None:
        """Kill the process and what it started, and remove its files. May be called again."""
        if not self.ended:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
