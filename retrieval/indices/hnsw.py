"""A navigable graph of vectors: quick for single queries, slow to build, and in full precision.

Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World
graphs, 2016. FAISS has it on processors only.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from retrieval.indices.base import Mask, Rows, Vectors, bitmap, checked
from retrieval.indices.flat import FEW, exhaustive
from retrieval.indices.recall import Parts
from retrieval.indices.tuned import Progress, TunedIndex

LINKS: Final = 24
"""Neighbours per vector, twice as many on the ground floor."""
_BUILD_EFFORT: Final = 100
_MOST_EFFORT: Final = 2048


class HnswIndex(TunedIndex):
    """Vectors in a graph; the effort is the length of the list of candidates."""

    kind = "hnsw"
    effort = "ef_search"
    on_gpu = False

    @classmethod
    def build(cls, vectors: NDArray[np.floating], parts: Parts, progress: Progress) -> "HnswIndex":
        """Index of float vectors (N, dim); takes minutes per hundred thousand on two cores.

        Raises:
            InvalidInput: no vectors, not a matrix, or NaN or infinity in it.
        """
        import faiss

        rows = checked(vectors, None, "vectors")
        if not len(rows):
            raise InvalidInput("index", "hnsw needs at least one phrase; use flat")
        index = faiss.IndexHNSWFlat(rows.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = _BUILD_EFFORT
        progress(f"hnsw: a graph with {LINKS} links")
        index.add(rows)
        return cls._tuned(index, rows, parts, {"links": LINKS}, _MOST_EFFORT, progress)

    def _search_with(
        self, effort: int, vectors: Vectors, k: int, allowed: Mask | None, count: int
    ) -> tuple[Vectors, Rows]:
        import faiss

        # The graph between few allowed rows falls apart.
        if count < FEW * self.size:
            return self._exhaustive(vectors, k, allowed, count)
        effort = max(k, -(-effort * self.size // count))
        selector = None if allowed is None else bitmap(allowed)
        parameters = faiss.SearchParametersHNSW(efSearch=effort, sel=selector)
        found: tuple[Vectors, Rows] = self._index.search(vectors, k, params=parameters)
        return found

    def _exhaustive(self, vectors: Vectors, k: int, allowed: Mask | None, count: int) -> tuple[Vectors, Rows]:
        import faiss

        return exhaustive(faiss.downcast_index(self._index.storage), vectors, k, allowed, count)

    @classmethod
    def _least(cls) -> int:
        return 16

    @staticmethod
    def _holds(index: Any) -> bool:
        import faiss

        return isinstance(index, faiss.IndexHNSWFlat)
