"""Exact search over all vectors; the right choice up to some hundred thousand.

FAISS 1.15 compares queries one by one below about three hundred at a time (`distance_compute_blas_threshold`). Matrix
products would be quicker from four on, but their rounding depends on the size of the batch, and with it which of equal
phrases a request gets; so its setting is left as it is.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.indices.base import FaissIndex, IndexInfo, Mask, Rows, Vectors, bitmap, checked

FEW = 0.1
"""Share of allowed rows below which FAISS goes through their numbers rather than through all rows."""


class FlatIndex(FaissIndex):
    """Every query is compared with every vector."""

    kind = "flat"

    @classmethod
    def build(cls, vectors: NDArray[np.floating]) -> "FlatIndex":
        """Index of float vectors (N, dim).

        Raises:
            InvalidInput: not a matrix, or NaN or infinity in it.
        """
        import faiss

        rows = checked(vectors, None, "vectors")
        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(rows)
        return cls(index, IndexInfo(cls.kind))

    def _exhaustive(self, vectors: Vectors, k: int, allowed: Mask | None, count: int) -> tuple[Vectors, Rows]:
        if self._gpu is not None and self._gpu.takes(k, allowed):
            found: tuple[Vectors, Rows] = self._gpu.search(vectors, k)
            return found
        return exhaustive(self._index, vectors, k, allowed, count)

    @staticmethod
    def _holds(index: Any) -> bool:
        import faiss

        return isinstance(index, faiss.IndexFlat)


def exhaustive(flat: Any, vectors: Vectors, k: int, allowed: Mask | None, count: int) -> tuple[Vectors, Rows]:
    """Exact search in a flat FAISS index among the `count` allowed rows."""
    import faiss

    parameters = None
    if allowed is not None:
        few = count < FEW * len(allowed)
        selector = faiss.IDSelectorArray(np.flatnonzero(allowed)) if few else bitmap(allowed)
        parameters = faiss.SearchParameters(sel=selector)
    found: tuple[Vectors, Rows] = flat.search(vectors, k, params=parameters)
    return found
