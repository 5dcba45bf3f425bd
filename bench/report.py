"""The document that every benchmark prints, and what a reader must know of the machine to judge its numbers."""

import json
import os
import platform
import shlex
import subprocess
import sys
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
from rich.table import Table

from export.tuning import processor

PACKAGES: Final = ("numpy", "torch", "onnxruntime", "onnxruntime-gpu", "faiss-cpu", "faiss-gpu", "ray", "pyarrow")


@dataclass(frozen=True)
class Row:
    """One number of a benchmark.

    Attributes:
        case: what was measured, e.g. `ivf 1000000`.
        metric: which property of it.
        value: None where it could not be measured; then `unit` says why.
        unit: of the value.
    """

    case: str
    metric: str
    value: float | None
    unit: str


def skipped(case: str, reason: str) -> Row:
    """A row that says why there is no number."""
    return Row(case, "skipped", None, reason)


def machine() -> dict[str, Any]:
    """Processor, memory, GPUs, operating system and the versions of what computes."""
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
    """The command line that makes the same measurement."""
    return shlex.join(["choreo", "bench", name, *argv])


def show(name: str, argv: Sequence[str], rows: Iterable[Row], as_json: bool) -> None:
    """Print rows to standard output: one JSON document, or a table for people."""
    listed = list(rows)
    if as_json:
        document = {"machine": machine(), "command": command(name, argv), "rows": [asdict(row) for row in listed]}
        print(json.dumps(document, allow_nan=False))
        return
    table = Table("case", "metric", "value", "unit")
    for row in listed:
        table.add_row(row.case, row.metric, "" if row.value is None else f"{row.value:.4g}", row.unit)
    Console().print(table)


def say(step: str) -> None:
    """Progress, to standard error."""
    print(step, file=sys.stderr, flush=True)


def seconds(work: Callable[[], Any], repeats: int, warm_up: int = 1) -> NDArray[np.float64]:
    """Wall time of each of some repeats, after some that do not count."""
    for _ in range(warm_up):
        work()
    out = np.empty(repeats)
    for i in range(repeats):
        start = time.perf_counter()
        work()
        out[i] = time.perf_counter() - start
    return out


def median(work: Callable[[], float], repeats: int = 5) -> float:
    """The middle one of repeated measurements."""
    return float(np.median([work() for _ in range(repeats)]))


def anonymous_mib() -> float:
    """Memory of this process that no file backs, MiB; mapped files are not in it."""
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
