"""The vectors that an index file holds, so that a library can grow without embedding its phrases again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact

_ROWS: Final = 65_536


def stored_vectors(path: Path) -> Iterator[NDArray[np.float32]]:
    """Vectors float32 (n, D) of an index in the order they were added, some at a time.

    Raises:
        InvalidArtifact: the file is no readable index, or keeps no vectors.
    """
    import faiss

    try:
        index = faiss.read_index(str(path))
        if (inverted := faiss.try_extract_index_ivf(index)) is not None:
            inverted.make_direct_map()
        for first in range(0, index.ntotal, _ROWS):
            yield index.reconstruct_n(first, min(_ROWS, index.ntotal - first))
    except (OSError, RuntimeError, MemoryError, AssertionError) as error:
        raise InvalidArtifact(f"{path.name} does not give its vectors back: {str(error)[:200]}") from error
