"""Context rows that were computed before: songs repeat in catalogs, and prompts in campaigns."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from serving.engines.tensors import Tensors
from serving.util.bounded_cache import BoundedCache


class ContextCache(BoundedCache[bytes, Tensors]):
    """The latest rows of the conditioner, by a hash of everything that they are computed from (`row_key`)."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes, lambda row: sum(values.nbytes for values in row.values()))


def row_key(inputs: Tensors, row: int, model: str) -> bytes:
    """Hash of one row of the conditioner's inputs, and of the model that they go to."""
    digest = hashlib.blake2b(model.encode(), digest_size=20)
    for name in sorted(inputs):
        values: NDArray[np.float32] = np.ascontiguousarray(inputs[name][row])
        digest.update(name.encode())
        digest.update(values.tobytes())
    return digest.digest()
