"""Nearest phrases by inner product: which index for how many vectors, and how to open the one that a library has."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, InvalidInput
from retrieval.indices.base import IndexInfo, Neighbours, VectorIndex
from retrieval.indices.flat import FlatIndex
from retrieval.indices.hnsw import HnswIndex
from retrieval.indices.ivf import IvfIndex
from retrieval.indices.recall import Parts

__all__ = ["KINDS", "FlatIndex", "IndexInfo", "Neighbours", "VectorIndex", "build_index", "load_index"]

AUTO: Final = "auto"
_INDICES: Final[dict[str, type[FlatIndex] | type[IvfIndex] | type[HnswIndex]]] = {
    index.kind: index for index in (FlatIndex, IvfIndex, HnswIndex)
}
KINDS: Final = (AUTO, *_INDICES)
MAX_FLAT: Final = 20_000
"""More vectors go into inverted lists: fewer are searched exactly in some ten milliseconds, and need no training."""


def build_index(
    vectors: NDArray[np.floating],
    kind: str = AUTO,
    parts: Sequence[int] | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> VectorIndex:
    """Index vectors (N, dim), of length 1 or less.

    Args:
        vectors: rows to find.
        kind: `flat` (exact), `ivf`, `hnsw`, or `auto`: by N. What the approximate ones find of what exact search
            finds is measured while they are built, and is in `info` of the result.
        parts: counts of the columns that a query may lack together (text, music, motion); None: they are one.
        progress: told of each step of a long build.
    Raises:
        InvalidInput: an unknown kind, too few vectors for it, not a matrix, or NaN or infinity in it.
    """
    if kind not in KINDS:
        raise InvalidInput("index", f"must be one of {', '.join(KINDS)}, got {kind}")
    if kind == AUTO:
        kind = FlatIndex.kind if len(vectors) <= MAX_FLAT else IvfIndex.kind
    if kind == FlatIndex.kind:
        return FlatIndex.build(vectors)
    approximate = IvfIndex if kind == IvfIndex.kind else HnswIndex
    return approximate.build(vectors, Parts(tuple(parts or vectors.shape[1:])), progress)


def load_index(path: Path, kind: str, parameters: Mapping[str, Any] | None = None) -> VectorIndex:
    """Open an index that was saved, on the GPU if there is one that FAISS can use.

    Args:
        path: its file, which is mapped, not read.
        kind: what it was built as.
        parameters: of its `info`, by the manifest.
    Raises:
        InvalidArtifact: an unknown kind, or a file that is missing, cut off, of another kind, metric or parameters.
    """
    if kind not in _INDICES:
        raise InvalidArtifact(f"{path.name} is said to be an index of kind {kind}; known are {', '.join(_INDICES)}")
    return _INDICES[kind].load(path, parameters)
