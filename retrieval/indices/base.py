"""What all vector indices share: validated input, filtered search, and files."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, InvalidInput
from retrieval.indices.device import Device, find_device

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]

METRIC = "inner_product"
RECALL_AT = 10


@dataclass(frozen=True)
class Neighbours:
    """Search result of one query, best first: row numbers int64 (m,) and inner products float32 (m,)."""

    rows: Rows
    scores: Vectors


@dataclass(frozen=True)
class IndexInfo:
    """Description of an index for a library's manifest.

    Attributes:
        kind: name of the algorithm.
        parameters: JSON-serialisable build and search parameters.
        recall: recall@10 against exact search, the lowest over the query patterns that the index was tuned for.
        queries: number of queries behind `recall`; 0 for an exact index.
    """

    kind: str
    parameters: dict[str, Any] = field(default_factory=dict)
    recall: float = 1.0
    queries: int = 0

    def to_json(self) -> dict[str, Any]:
        """JSON-serialisable form."""
        recall = {"at": RECALL_AT, "value": self.recall, "queries": self.queries}
        return {"kind": self.kind, "metric": METRIC, "parameters": self.parameters, "recall": recall}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "IndexInfo":
        """Inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: an entry is missing or malformed, or the metric is another one.
        """
        if values["metric"] != METRIC:
            raise ValueError(f"index: its metric is {values['metric']}, not {METRIC}")
        recall = values["recall"]
        if not 0 <= float(recall["value"]) <= 1:
            raise ValueError(f"index: its recall is {recall['value']}")
        return cls(str(values["kind"]), dict(values["parameters"]), float(recall["value"]), int(recall["queries"]))


class VectorIndex(ABC):
    """A FAISS inner-product index of vectors numbered from 0 in insertion order; searching is thread-safe.

    Attributes:
        kind: name of the algorithm.
        info: description for the manifest.
        place: where searches run (a GPU or the CPU), and why there.

    Args:
        index: the FAISS index on the CPU, which `save` writes even if a GPU holds a copy.
        info: parameters, and what was measured during the build.
        device: where to search; None: on the CPU.
    """

    kind: ClassVar[str]

    def __init__(self, index: Any, info: IndexInfo, device: Device | None = None) -> None:
        self._index, self.info = index, info
        self._gpu = None if device is None else device.copy_of(index)
        self.place = "cpu" if device is None else self._gpu.place if self._gpu else f"cpu: {device.reason}"

    @classmethod
    def load(cls, path: Path, parameters: Mapping[str, Any] | None = None) -> Self:
        """Memory-map a file that `save` wrote: pages are read on demand and shared between processes.

        Raises:
            InvalidArtifact: the file is missing, truncated, or holds another kind of index.
        """
        import faiss

        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except (OSError, RuntimeError, MemoryError, AssertionError) as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise InvalidArtifact(f"{path.name} is not a readable FAISS index: {reason[-1][:200]}") from error
        if index.metric_type != faiss.METRIC_INNER_PRODUCT or not cls._holds(index):
            raise InvalidArtifact(f"{path.name} is not a {cls.kind} inner-product index but a {type(index).__name__}")
        return cls(index, IndexInfo(cls.kind, dict(parameters or {})), find_device())

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return int(self._index.d)

    @property
    def size(self) -> int:
        """Number of vectors."""
        return int(self._index.ntotal)

    def search(self, queries: NDArray[np.floating], k: int, allowed: Mask | None = None) -> list[Neighbours]:
        """The k nearest rows of each query, fewer if there are fewer.

        Args:
            queries: (N, dim); a query of zeros finds nothing.
            k: maximum number of neighbours.
            allowed: bool (size,), the rows that may be found; None: all.
        Raises:
            InvalidInput: k below 1, queries or a mask of another shape, NaN or infinity.
        """
        if k < 1:
            raise InvalidInput("k", f"must be at least 1, got {k}")
        vectors = checked(queries, self.dim, "queries")
        if allowed is not None and (allowed.shape != (self.size,) or allowed.dtype != np.bool_):
            raise InvalidInput("allowed", f"must be bool ({self.size},), got {allowed.dtype} {allowed.shape}")
        count = self.size if allowed is None else int(np.count_nonzero(allowed))
        out = [Neighbours(np.zeros(0, np.int64), np.zeros(0, np.float32)) for _ in vectors]
        nonzero, k = np.flatnonzero(vectors.any(1)), min(k, count)
        if k and len(nonzero):
            scores, rows = self._search(vectors[nonzero], k, None if count == self.size else allowed, count)
            for i, r, s in zip(nonzero, rows, scores, strict=True):
                found = (r >= 0) & (r < self.size)
                out[i] = Neighbours(r[found], s[found])
        return out

    def save(self, path: Path) -> None:
        """Write the index to a file."""
        import faiss

        faiss.write_index(self._index, str(path))

    @abstractmethod
    def _search(self, vectors: Vectors, k: int, allowed: Mask | None, count: int) -> tuple[Vectors, Rows]:
        """Scores and rows (N, k), best first, of non-zero queries among the `count` >= k allowed rows; row -1: none."""

    @staticmethod
    @abstractmethod
    def _holds(index: Any) -> bool:
        """Whether a FAISS index is of this algorithm."""


def checked(vectors: NDArray[np.floating], dim: int | None, field: str) -> Vectors:
    """The same vectors as contiguous float32.

    Raises:
        InvalidInput: not a matrix of `dim` columns (None: any number), or NaN or infinity in it.
    """
    if vectors.ndim != 2 or vectors.shape[1] != (dim or vectors.shape[1]) or not vectors.shape[1]:
        raise InvalidInput(field, f"must have shape (N, {dim or 'D'}), got {vectors.shape}")
    out = np.ascontiguousarray(vectors, np.float32)
    # The sum is not finite if any number is not, and needs no mask as large as a million vectors.
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(out.sum(dtype=np.float64)):
            raise InvalidInput(field, "holds NaN or infinity")
    return out


def bitmap(allowed: Mask) -> Any:
    """A FAISS selector of the allowed rows, one bit per row."""
    import faiss

    return faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
