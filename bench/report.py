"""The rows of a benchmark, the document that it prints, the machine that it ran on, and timing."""

import json
import os
import platform
import shlex
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from numpy.typing import NDArray
from rich.console import Console

from choreo.reporting.tables import Table
from export.tuning import processor

PACKAGES: Final = ("numpy", "torch", "onnxruntime", "onnxruntime-gpu", "faiss-cpu", "faiss-gpu", "ray", "pyarrow")


@dataclass(frozen=True)
class Row:
    """One number of a benchmark.

    Attributes:
        case: what was measured, e.g. `ivf 1000000`.
        metric: which property of the case.
        value: None if it could not be measured; `unit` then says why.
        unit: unit of the value.
    """

    case: str
    metric: str
    value: float | None
    unit: str


def skipped(case: str, reason: str) -> Row:
    """A row that says why a case was not measured."""
    return Row(case, "skipped", None, reason)


def machine() -> dict[str, Any]:
    """Processor, memory, GPUs, operating system and versions of the numerical packages."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": _gpus(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def command(name: str, argv: Sequence[str]) -> str:
    """The command line that repeats the measurement."""
    return shlex.join(["choreo", "bench", name, *argv])


def show(name: str, argv: Sequence[str], rows: Iterable[Row], as_json: bool) -> None:
    """Print rows to standard output, as one JSON document or as a table."""
    listed = list(rows)
    if as_json:
        document = {"machine": machine(), "command": command(name, argv), "rows": [asdict(row) for row in listed]}
        print(json.dumps(document, allow_nan=False))
        return
    cells = [(row.case, row.metric, "" if row.value is None else f"{row.value:.4g}", row.unit) for row in listed]
    Console().print(Table(("case", "metric", "value", "unit"), cells).terminal())


def seconds(work: Callable[[], Any], repeats: int, warm_up: int = 1) -> NDArray[np.float64]:
    """Wall time of each of `repeats` calls in seconds, after `warm_up` calls that are not timed."""
    for _ in range(warm_up):
        work()
    out = np.empty(repeats)
    for i in range(repeats):
        start = time.perf_counter()
        work()
        out[i] = time.perf_counter() - start
    return out


def anonymous_mib() -> float:
    """Anonymous memory of this process in MiB, which excludes mapped files."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this kernel does not report RssAnon")


def _gpus() -> list[str]:
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in found.splitlines() if line.strip()]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
