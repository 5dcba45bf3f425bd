"""Inverted lists: k-means puts vectors into lists, a query looks into those whose centres are nearest.

Jegou et al., Product Quantization for Nearest Neighbor Search, 2011, without the product quantizer: vectors are kept
in half precision, which halves memory and the time to read it. That moves a cosine by 2^-11 at most, less than what
`retrieval.indices.recall` calls equal.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from retrieval.indices.base import Mask, Rows, Vectors, bitmap, checked
from retrieval.indices.recall import Parts
from retrieval.indices.tuned import Progress, TunedIndex

TRAINING: Final = (39, 64)
"""Fewest and most vectors per list that k-means is trained with; FAISS warns below 39."""
_ITERATIONS: Final = 10
_SEED: Final = 1234


class IvfIndex(TunedIndex):
    """Vectors in lists; the effort is the number of lists that a query looks into."""

    kind = "ivf"
    effort = "nprobe"

    @classmethod
    def build(cls, vectors: NDArray[np.floating], parts: Parts, progress: Progress) -> "IvfIndex":
        """Index of float vectors (N, dim); takes about a minute per half million on two cores.

        Raises:
            InvalidInput: fewer than 39 vectors, not a matrix, or NaN or infinity in it.
        """
        rows = checked(vectors, None, "vectors")
        if len(rows) < TRAINING[0]:
            raise InvalidInput("index", f"ivf needs at least {TRAINING[0]} phrases, there are {len(rows)}; use flat")
        nlist = lists(len(rows))
        progress(f"ivf: {nlist} lists")
        return cls._tuned(_filled(rows, nlist), rows, parts, {"nlist": nlist, "storage": "fp16"}, nlist, progress)

    def _search_with(
        self, effort: int, vectors: Vectors, k: int, allowed: Mask | None, count: int
    ) -> tuple[Vectors, Rows]:
        # As many allowed rows are looked at as there would be rows without a filter.
        effort = min(-(-effort * self.size // count), int(self._index.nlist))
        return self._probed(effort, vectors, k, allowed)

    def _exhaustive(self, vectors: Vectors, k: int, allowed: Mask | None, count: int) -> tuple[Vectors, Rows]:
        return self._probed(int(self._index.nlist), vectors, k, allowed)

    def _probed(self, nprobe: int, vectors: Vectors, k: int, allowed: Mask | None) -> tuple[Vectors, Rows]:
        import faiss

        parameters = faiss.SearchParametersIVF(nprobe=nprobe, sel=None if allowed is None else bitmap(allowed))
        index = self._index
        if self._gpu is not None and self._gpu.takes(k, allowed, nprobe):
            index = self._gpu
        found: tuple[Vectors, Rows] = index.search(vectors, k, params=parameters)
        return found

    @classmethod
    def _least(cls) -> int:
        return 2

    @staticmethod
    def _holds(index: Any) -> bool:
        import faiss

        return isinstance(index, faiss.IndexIVFScalarQuantizer)


def lists(count: int) -> int:
    """Number of lists for so many vectors: a power of two near 4 sqrt(N), as far as there is enough to train them."""
    power = 1 << round(np.log2(4 * np.sqrt(count)))
    return max(1, min(power, count // TRAINING[0]))


def _filled(rows: Vectors, nlist: int) -> Any:
    import faiss

    dim, half = rows.shape[1], faiss.ScalarQuantizer.QT_fp16
    centres = faiss.IndexFlatIP(dim)
    index = faiss.IndexIVFScalarQuantizer(centres, dim, nlist, half, faiss.METRIC_INNER_PRODUCT, False)
    index.cp.niter, index.cp.seed = _ITERATIONS, _SEED
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = TRAINING
    most = min(len(rows), TRAINING[1] * nlist)
    index.train(rows[np.sort(np.random.default_rng(_SEED).choice(len(rows), most, replace=False))])
    index.add(rows)
    return index
