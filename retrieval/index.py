"""Nearest phrases by inner product, exactly: a flat FAISS index with typed errors around it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, InvalidInput


@dataclass(frozen=True)
class Neighbours:
    """What was found for one query, best first: row numbers int64 (m,) and inner products float32 (m,)."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


class VectorIndex(Protocol):
    """An index of vectors numbered from 0 in the order they were added."""

    @property
    def kind(self) -> str:
        """Name of the algorithm."""

    @property
    def dim(self) -> int:
        """Columns of a vector."""

    @property
    def size(self) -> int:
        """Number of vectors."""

    def search(self, queries: NDArray[np.floating], k: int) -> list[Neighbours]:
        """At most k neighbours of each row of queries (N, dim)."""

    def save(self, path: Path) -> None:
        """Write the index to a file."""


class FlatIndex:
    """Exact search over all vectors; the right choice up to some hundred thousand."""

    kind = "flat"

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def build(cls, vectors: NDArray[np.floating]) -> "FlatIndex":
        """Index of float vectors (N, dim).

        Raises:
            InvalidInput: not a matrix, or NaN or infinity in it.
        """
        import faiss

        index = cls(faiss.IndexFlatIP(int(vectors.shape[1]) if vectors.ndim == 2 else 1))
        index._index.add(index._checked(vectors, "vectors"))
        return index

    @classmethod
    def load(cls, path: Path) -> "FlatIndex":
        """Read an index that `save` wrote.

        Raises:
            InvalidArtifact: the file is missing, cut off, or holds another kind of index.
        """
        import faiss

        try:
            index = faiss.read_index(str(path))
        except (OSError, RuntimeError, MemoryError, AssertionError) as error:
            raise InvalidArtifact(f"{path.name} is not a readable FAISS index: {_first_line(error)}") from error
        if not isinstance(index, faiss.IndexFlat) or index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise InvalidArtifact(f"{path.name} is not a flat inner-product index but a {type(index).__name__}")
        return cls(index)

    @property
    def dim(self) -> int:
        """Columns of a vector."""
        return int(self._index.d)

    @property
    def size(self) -> int:
        """Number of vectors."""
        return int(self._index.ntotal)

    def search(self, queries: NDArray[np.floating], k: int) -> list[Neighbours]:
        """At most k neighbours of each row of queries (N, dim), fewer where the index has fewer.

        Raises:
            InvalidInput: k below 1, queries of another dimension, NaN or infinity.
        """
        if k < 1:
            raise InvalidInput("k", f"must be at least 1, got {k}")
        vectors = self._checked(queries, "queries")
        if not self.size or not len(vectors):
            return [Neighbours(np.zeros(0, np.int64), np.zeros(0, np.float32)) for _ in vectors]
        scores, rows = self._index.search(vectors, min(k, self.size))
        return [Neighbours(r[r >= 0], s[r >= 0]) for r, s in zip(rows, scores, strict=True)]

    def save(self, path: Path) -> None:
        """Write the index to a file."""
        import faiss

        faiss.write_index(self._index, str(path))

    def _checked(self, vectors: NDArray[np.floating], field: str) -> NDArray[np.float32]:
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise InvalidInput(field, f"must have shape (N, {self.dim}), got {vectors.shape}")
        out = np.ascontiguousarray(vectors, np.float32)
        if not np.isfinite(out).all():
            raise InvalidInput(field, "holds NaN or infinity")
        return out


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1][:200] if str(error).strip() else type(error).__name__
