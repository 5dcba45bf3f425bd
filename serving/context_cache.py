"""Context rows that were computed before: songs repeat in catalogs, and prompts in campaigns."""

import hashlib
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from serving.tensors import Tensors


class ContextCache:
    """The latest rows of the conditioner, by a hash of everything that they are computed from.

    Args:
        max_bytes: memory for rows; 0 keeps none.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._rows: OrderedDict[bytes, Tensors] = OrderedDict()

    def get(self, key: bytes) -> Tensors | None:
        """Outputs of one row, or None."""
        found = self._rows.get(key)
        if found is None:
            return None
        self._rows.move_to_end(key)
        return found

    def put(self, key: bytes, row: Tensors) -> None:
        """Keep one row, and drop those longest unused for it."""
        if key in self._rows:
            return
        self._rows[key] = row
        self._bytes += _size(row)
        while self._bytes > self._max_bytes:
            _, dropped = self._rows.popitem(last=False)
            self._bytes -= _size(dropped)


def row_key(inputs: Tensors, row: int, model: str) -> bytes:
    """Hash of one row of the conditioner's inputs, and of the model that they go to."""
    digest = hashlib.blake2b(model.encode(), digest_size=20)
    for name in sorted(inputs):
        values: NDArray[np.float32] = np.ascontiguousarray(inputs[name][row])
        digest.update(name.encode())
        digest.update(values.tobytes())
    return digest.digest()


def _size(row: Tensors) -> int:
    return sum(values.nbytes for values in row.values())
