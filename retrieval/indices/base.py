"""What all indices share: checked input, filters, complete answers, and files."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

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
    """What was found for one query, best first: row numbers int64 (m,) and inner products float32 (m,)."""

    rows: Rows
    scores: Vectors


@dataclass(frozen=True)
class IndexInfo:
    """What a manifest says of an index.

    Attributes:
        kind: name of the algorithm.
        parameters: numbers it was built and is searched with; JSON-serialisable.
        recall: lowest recall@10 against exact search over the kinds of query it was tuned for.
        queries: how many queries that was measured with; 0 where it is exact by construction.
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
            KeyError, TypeError, ValueError: something is missing, of another metric, or not what it should be.
        """
        if values["metric"] != METRIC:
            raise ValueError(f"index: its metric is {values['metric']}, not {METRIC}")
        recall = values["recall"]
        if not 0 <= float(recall["value"]) <= 1:
            raise ValueError(f"index: its recall is {recall['value']}")
        return cls(str(values["kind"]), dict(values["parameters"]), float(recall["value"]), int(recall["queries"]))


class VectorIndex(Protocol):
    """An index of vectors numbered from 0 in the order they were added; searching is safe from many threads."""

    @property
    def kind(self) -> str:
        """Name of the algorithm."""

    @property
    def info(self) -> IndexInfo:
        """For the manifest."""

    @property
    def dim(self) -> int:
        """Columns of a vector."""

    @property
    def size(self) -> int:
        """Number of vectors."""

    @property
    def place(self) -> str:
        """Where it is searched, and why there."""

    def search(self, queries: NDArray[np.floating], k: int, allowed: Mask | None = None) -> list[Neighbours]:
        """At most k neighbours of each row of queries (N, dim), among the rows that `allowed` (size,) names."""

    def save(self, path: Path) -> None:
        """Write the index to a file."""


class FaissIndex(ABC):
    """A FAISS index with typed errors around it; subclasses know one algorithm each.

    Args:
        index: the FAISS index; what a file of it holds stays the truth when a GPU holds a copy.
        info: what was measured when it was built.
        device: where to search; None: on the processor.
    """

    kind: ClassVar[str]
    on_gpu: ClassVar[bool] = True
    """Whether FAISS has this algorithm on GPUs."""

    def __init__(self, index: Any, info: IndexInfo, device: Device | None = None) -> None:
        self._index, self.info = index, info
        self._gpu = device.copy_of(index) if device is not None and self.on_gpu else None
        self.place = self._gpu.place if self._gpu is not None else _on_cpu(self.kind, self.on_gpu, device)

    @classmethod
    def load(cls, path: Path, parameters: Mapping[str, Any] | None = None) -> Self:
        """Map the file that `save` wrote: pages are read when a search needs them, and processes share them.

        Raises:
            InvalidArtifact: the file is missing, cut off, or holds another kind of index.
        """
        import faiss

        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except (OSError, RuntimeError, MemoryError, AssertionError) as error:
            raise InvalidArtifact(f"{path.name} is not a readable FAISS index: {_last_line(error)}") from error
        if index.metric_type != faiss.METRIC_INNER_PRODUCT or not cls._holds(index):
            raise InvalidArtifact(f"{path.name} is not a {cls.kind} inner-product index but a {type(index).__name__}")
        return cls(index, IndexInfo(cls.kind, dict(parameters or {})), find_device())

    @property
    def dim(self) -> int:
        """Columns of a vector."""
        return int(self._index.d)

    @property
    def size(self) -> int:
        """Number of vectors."""
        return int(self._index.ntotal)

    def search(self, queries: NDArray[np.floating], k: int, allowed: Mask | None = None) -> list[Neighbours]:
        """At most k neighbours of each row of queries (N, dim), fewer where fewer are there.

        Args:
            queries: a row of zeros finds nothing.
            k: most neighbours.
            allowed: bool (size,), the rows that may be found; None: all.
        Raises:
            InvalidInput: k below 1, queries or a mask of another size, NaN or infinity.
        """
        if k < 1:
            raise InvalidInput("k", f"must be at least 1, got {k}")
        vectors = checked(queries, self.dim, "queries")
        if allowed is not None and (allowed.shape != (self.size,) or allowed.dtype != np.bool_):
            raise InvalidInput("allowed", f"must be bool ({self.size},), got {allowed.dtype} {allowed.shape}")
        count = self.size if allowed is None else int(np.count_nonzero(allowed))
        out = [Neighbours(np.zeros(0, np.int64), np.zeros(0, np.float32)) for _ in vectors]
        asked, k = np.flatnonzero(vectors.any(1)), min(k, count)
        if k and len(asked):
            scores, rows = self._complete(vectors[asked], k, None if count == self.size else allowed, count)
            for i, r, s in zip(asked, rows, scores, strict=True):
                found = (r >= 0) & (r < self.size)
                out[i] = Neighbours(r[found], s[found])
        return out

    def save(self, path: Path) -> None:
        """Write the index to a file."""
        import faiss

        faiss.write_index(self._index, str(path))

    def _complete(self, vectors: Vectors, k: int, allowed: Mask | None, count: int) -> tuple[Vectors, Rows]:
        """Search; queries for which a shortcut found fewer than k of the `count` allowed rows are searched exactly."""
        scores, rows = self._search(vectors, k, allowed, count)
        short = np.flatnonzero(rows[:, -1] < 0)
        if len(short):
            scores[short], rows[short] = self._exhaustive(vectors[short], k, allowed, count)
        return scores, rows

    def _search(self, vectors: Vectors, k: int, allowed: Mask | None, count: int) -> tuple[Vectors, Rows]:
        """Scores and rows (N, k), best first; row -1 where none was found. Exact unless a subclass knows better."""
        return self._exhaustive(vectors, k, allowed, count)

    @abstractmethod
    def _exhaustive(self, vectors: Vectors, k: int, allowed: Mask | None, count: int) -> tuple[Vectors, Rows]:
        """The same, looking at every allowed row."""

    @staticmethod
    @abstractmethod
    def _holds(index: Any) -> bool:
        """Whether a FAISS index is of this algorithm."""


def checked(vectors: NDArray[np.floating], dim: int | None, field: str) -> Vectors:
    """The same as contiguous float32.

    Raises:
        InvalidInput: not a matrix of `dim` columns, or NaN or infinity in it.
    """
    if vectors.ndim != 2 or vectors.shape[1] != (dim or vectors.shape[1]) or not vectors.shape[1]:
        raise InvalidInput(field, f"must have shape (N, {dim or 'D'}), got {vectors.shape}")
    out = np.ascontiguousarray(vectors, np.float32)
    # A sum is not finite where any number is not; a mask of a million rows would be as large as the vectors.
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(out.sum(dtype=np.float64)):
            raise InvalidInput(field, "holds NaN or infinity")
    return out


def bitmap(allowed: Mask) -> Any:
    """A FAISS selector of the allowed rows, one bit each."""
    import faiss

    return faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))


def _on_cpu(kind: str, on_gpu: bool, device: Device | None) -> str:
    if device is None:
        return "cpu"
    return f"cpu: {device.reason}" if on_gpu else f"cpu: FAISS has no {kind} index for GPUs"


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1][:200] if str(error).strip() else type(error).__name__
