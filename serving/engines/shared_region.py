"""Arrays in shared memory of this host, which a Triton server reads and writes in place."""

import math
import mmap
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import ChoreoError
from serving.util.ownership import SHARED_MEMORY

ALIGNMENT: Final = 64


class NotShared(ChoreoError, OSError):
    """A server cannot see the shared memory of this process: it runs elsewhere, or in a container."""


class SharedRegion:
    """One segment with an array (rows, *shape) for every name.

    Args:
        name: of the segment; it begins with `serving.triton.process.owner_prefix`, so that a later start removes what
            a killed process leaves behind.
        shapes: of a row of every array.
        rows: of the arrays.

    Raises:
        OSError: no room for it, or no shared memory on this machine.
    """

    def __init__(self, name: str, shapes: Mapping[str, tuple[int, ...]], rows: int) -> None:
        self.name, self.key = name, f"/{name}"
        self._offsets: dict[str, int] = {}
        self._row_bytes = {array: 4 * math.prod(shape) for array, shape in shapes.items()}
        self.size = 0
        for array, row_bytes in self._row_bytes.items():
            self._offsets[array] = self.size
            self.size += -(-rows * row_bytes // ALIGNMENT) * ALIGNMENT
        memory = _mapped(SHARED_MEMORY / name, self.size)
        # Also when it was not unlinked: when it is collected, or the interpreter ends.
        self._unlink = weakref.finalize(self, (SHARED_MEMORY / name).unlink, missing_ok=True)
        self.arrays: dict[str, NDArray[np.float32]] = {
            array: np.frombuffer(memory, np.float32, rows * math.prod(shape), self._offsets[array]).reshape(
                rows, *shape
            )
            for array, shape in shapes.items()
        }

    def place(self, array: str, rows: range) -> tuple[int, int]:
        """Offset and size of some rows of an array, bytes."""
        row = self._row_bytes[array]
        return self._offsets[array] + rows.start * row, len(rows) * row

    def unlink(self) -> None:
        """Remove the segment's name; its memory goes with the last one that has it mapped."""
        self._unlink()


def _mapped(path: Path, size: int) -> mmap.mmap:
    """A new file of zeros in memory, mapped; no such file stays behind when that fails."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        # Taken now: memory that is promised but not there would end the process at the first touch.
        os.posix_fallocate(descriptor, 0, size)
        return mmap.mmap(descriptor, size)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
