"""What numba compiles, one process at a time: librosa, and the kernels of the beat tracker.

Functions are compiled when they are imported, and numba keeps them in a cache beside their sources. That cache is not
safe for several writers: two processes that fill it at once can leave an index that names the wrong machine code, and
from then on every process that loads it crashes. The lock keeps writers apart; a cache that is filled is only read.
"""

import fcntl
import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from types import ModuleType
from typing import Final

LIBROSA: Final = (
    "librosa",
    "librosa.util",
    "librosa.core.audio",
    "librosa.beat",
    "librosa.onset",
    "librosa.feature",
)
KERNELS: Final = "choreo.music.beat_tracking.kernels"


@cache
def load_librosa() -> ModuleType:
    """The module `librosa`, with everything compiled that it compiles when it is imported."""
    with _one_process():
        modules = [importlib.import_module(name) for name in LIBROSA]
    return modules[0]


@cache
def load_kernels() -> ModuleType:
    """The module `choreo.music.beat_tracking.kernels`, compiled."""
    with _one_process():
        return importlib.import_module(KERNELS)


@contextmanager
def _one_process() -> Iterator[None]:
    """Hold a lock on librosa's own file: processes that share its cache share it, and it may be read-only."""
    spec = importlib.util.find_spec("librosa")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("librosa is missing; install this program with its dependencies", name="librosa")
    descriptor = os.open(spec.origin, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some network file systems lock only files that may be written
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
