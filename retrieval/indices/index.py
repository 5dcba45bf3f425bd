"""Choosing, building and opening the index of a library."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, InvalidInput
from retrieval.indices.base import IndexInfo, Neighbours, VectorIndex
from retrieval.indices.flat import FlatIndex
from retrieval.indices.ivf import IvfIndex
from retrieval.indices.recall import Parts

__all__ = ["KINDS", "FlatIndex", "IndexInfo", "Neighbours", "VectorIndex", "build_index", "load_index"]

AUTO: Final = "auto"
_INDICES: Final[dict[str, type[FlatIndex] | type[IvfIndex]]] = {index.kind: index for index in (FlatIndex, IvfIndex)}
KINDS: Final = (AUTO, *_INDICES)
MAX_FLAT: Final = 20_000
"""Up to so many vectors are searched exactly, in some ten milliseconds and without training."""
_BATCH: Final = 65_536


def build_index(
    vectors: NDArray[np.floating],
    kind: str = AUTO,
    parts: Sequence[int] | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> VectorIndex:
    """Index vectors (N, dim) of length 1 or less.

    Args:
        vectors: rows to index.
        kind: `flat` (exact), `ivf` (approximate, its recall measured during the build), or `auto`, which chooses by N.
        parts: sizes of the column groups that a query may lack (text, music, motion); None: one group.
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
    return IvfIndex.build(vectors, Parts(tuple(parts or vectors.shape[1:])), progress)


def load_index(path: Path, kind: str, parameters: Mapping[str, Any] | None = None) -> VectorIndex:
    """Memory-map a saved index; it is searched on a GPU if there is one that FAISS can use.

    Args:
        path: its file.
        kind: what it was built as, from the manifest.
        parameters: of its `IndexInfo`, from the manifest.
    Raises:
        InvalidArtifact: an unknown kind, or a file that is missing, truncated, of another kind, metric or parameters.
    """
    if kind not in _INDICES:
        raise InvalidArtifact(
            f"{path.name} is an index of kind {kind}, this program reads {' and '.join(_INDICES)}; "
            "build the library again"
        )
    return _INDICES[kind].load(path, parameters)


def stored_vectors(path: Path) -> Iterator[NDArray[np.float32]]:
    """The vectors float32 (n, D) of a saved index in insertion order, some at a time.

    Raises:
        InvalidArtifact: the file is not a readable index, or does not keep its vectors.
    """
    import faiss

    try:
        index = faiss.read_index(str(path))
        if (inverted := faiss.try_extract_index_ivf(index)) is not None:
            inverted.make_direct_map()
        for first in range(0, index.ntotal, _BATCH):
            yield index.reconstruct_n(first, min(_BATCH, index.ntotal - first))
    except (OSError, RuntimeError, MemoryError, AssertionError) as error:
        raise InvalidArtifact(f"{path.name} does not give its vectors back: {str(error)[:200]}") from error
