"""Exact search over all vectors; the right choice up to some hundred thousand.

FAISS 1.15 compares queries one by one below about three hundred at a time (`distance_compute_blas_threshold`). Matrix
products would be faster from four queries on, but their rounding depends on the size of the batch, and with it which
of several equal phrases a request gets; so the threshold keeps its default.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.indices.base import IndexInfo, Mask, Rows, VectorIndex, Vectors, bitmap, checked

_ENUMERATED_SHARE = 0.1
"""Below this share of allowed rows FAISS is given their numbers instead of a bitmap of all rows."""


class FlatIndex(VectorIndex):
    """Compares every query with every vector."""

    kind = "flat"

    @classmethod
    def build(cls, vectors: NDArray[np.floating]) -> "FlatIndex":
        """Index of vectors (N, dim).

        Raises:
            InvalidInput: not a matrix, or NaN or infinity in it.
        """
        import faiss

        rows = checked(vectors, None, "vectors")
        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(rows)
        return cls(index, IndexInfo(cls.kind))

    def _search(self, vectors: Vectors, k: int, allowed: Mask | None, count: int) -> tuple[Vectors, Rows]:
        import faiss

        index, parameters = self._index, None
        if allowed is not None:
            enumerate_rows = count < _ENUMERATED_SHARE * len(allowed)
            selector = faiss.IDSelectorArray(np.flatnonzero(allowed)) if enumerate_rows else bitmap(allowed)
            parameters = faiss.SearchParameters(sel=selector)
        if self._gpu is not None and self._gpu.takes(k, allowed):
            index = self._gpu
        found: tuple[Vectors, Rows] = index.search(vectors, k, params=parameters)
        return found

    @staticmethod
    def _holds(index: Any) -> bool:
        import faiss

        return isinstance(index, faiss.IndexFlat)
