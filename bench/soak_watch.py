"""Memory, open files, threads and shared memory of a server's processes over time, and what became of them."""

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import psutil
from numpy.typing import NDArray

from bench.report import Row
from choreo.errors import InvalidInput

SHARED: Final = Path("/dev/shm")
ALL: Final = "all together"
UNITS: Final = {"memory": "MiB", "files": "files", "threads": "threads", "shared memory": "MiB"}
WARM: Final = 0.25
"""Share of the time, at the beginning, that growth does not count: caches fill, and code is compiled."""


@dataclass(frozen=True)
class Sample:
    """One look at all processes.

    Attributes:
        at: seconds since the beginning.
        of: by process and property, both by name.
    """

    at: float
    of: dict[tuple[str, str], float]


class Watch:
    """Looks at a process and its descendants now and then, in a thread.

    Args:
        pid: of the process.
        every_s: seconds between two looks.

    Raises:
        InvalidInput: there is no such process.
    """

    def __init__(self, pid: int, every_s: float) -> None:
        try:
            self._root = psutil.Process(pid)
        except psutil.NoSuchProcess as error:
            raise InvalidInput("pid", f"there is no process {pid}") from error
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._began = time.monotonic()
        self.samples: list[Sample] = []

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def sample(self) -> Sample:
        """How things are now; processes of one name are added up."""
        found: dict[tuple[str, str], float] = defaultdict(float)
        for process in [self._root, *self._root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):  # it has just ended
                name, memory = part_name(process), process.memory_full_info().pss / 2**20
                figures = {"memory": memory, "files": process.num_fds(), "threads": process.num_threads()}
                for key, value in figures.items():
                    found[name, key] += value
                    found[ALL, key] += value
        found[ALL, "shared memory"] = sum(_sizes(SHARED)) / 2**20
        return Sample(time.monotonic() - self._began, dict(found))

    def _look(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(psutil.NoSuchProcess):
                self.samples.append(self.sample())
            self._stop.wait(self._every_s)


def part_name(process: psutil.Process) -> str:
    """What a process is called in the report."""
    line = process.cmdline()
    title = " ".join(line)
    if "ServeReplica:choreo:" in title:
        return title.partition("ServeReplica:choreo:")[2].split("#")[0].split(".")[0].strip()
    for module in ("finish_worker", "decode_worker"):
        if module in title:
            return "child processes of requests"
    if title.startswith("ray::"):
        return title.split(".")[0].split()[0].removeprefix("ray::")
    if "choreo" in title and "serve" in line:
        return "choreo serve"
    for name in ("tritonserver", "triton_python_backend_stub", "raylet", "gcs_server"):
        if line and Path(line[0]).name == name:
            return name
    return "other processes of Ray"


def series(samples: list[Sample], part: str, key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds and values of one property of a part, without the looks at which the part was not there."""
    pairs = [(sample.at, sample.of[part, key]) for sample in samples if (part, key) in sample.of]
    times, values = np.array(pairs, np.float64).reshape(-1, 2).T
    return times, values


def rows(samples: list[Sample]) -> Iterator[Row]:
    """Values at the beginning and at the end, and growth per hour once everything is warm."""
    keys = sorted({key for sample in samples for key in sample.of})
    for part, key in keys:
        times, values = series(samples, part, key)
        if len(times) < len(samples) / 2:
            continue  # of processes that come and go nothing grows
        eighth = max(len(values) // 8, 1)
        yield Row(part, f"{key}, beginning", round(float(np.median(values[:eighth])), 1), UNITS[key])
        yield Row(part, f"{key}, end", round(float(np.median(values[-eighth:])), 1), UNITS[key])
        yield Row(part, f"{key}, growth", growth(times, values), f"{UNITS[key]} an hour")


def growth(times: NDArray[np.float64], values: NDArray[np.float64]) -> float | None:
    """Growth per hour after the first quarter: median slope of all pairs (Theil-Sen), which few jumps do not move."""
    from scipy.stats import theilslopes

    late = times >= times[0] + WARM * (times[-1] - times[0])
    if late.sum() < 3:
        return None
    return round(3600 * float(theilslopes(values[late], times[late]).slope), 2)


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.glob("choreo-*"):
        with contextlib.suppress(OSError):
            yield path.stat().st_blocks * 512
