"""Inverted lists: k-means assigns vectors to lists, and a query scans the lists with the nearest centroids.

Jegou et al., Product Quantization for Nearest Neighbor Search, 2011, without the product quantiser: vectors are kept
in half precision, which halves memory and the time to read it. That changes a cosine by 2^-11 at most, less than
`retrieval.indices.recall` can distinguish.

The number of lists to scan (nprobe) is tuned during the build for each query pattern, since the patterns differ
tenfold: the lists partition a space of text, music and motion, in which a prompt alone says little about the centroid.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, InvalidInput
from retrieval.indices.base import RECALL_AT, IndexInfo, Mask, Rows, VectorIndex, Vectors, bitmap, checked
from retrieval.indices.device import Device, GpuCopy
from retrieval.indices.recall import Parts, Pattern, efforts, least_effort, query_sets

Progress = Callable[[str], None]

TRAINING: Final = (39, 64)
"""Minimum and maximum number of vectors per list for training k-means; FAISS warns below 39."""
_ITERATIONS: Final = 10
_SEED: Final = 1234
_MIN_NPROBE: Final = 2


class IvfIndex(VectorIndex):
    """Vectors in lists, of which a query scans as many as were needed for its pattern when the index was tuned."""

    kind = "ivf"

    def __init__(self, index: Any, info: IndexInfo, device: Device | None = None) -> None:
        super().__init__(index, info, device)
        self._parts, self._nprobe = _tuning(info.parameters, self.dim)

    @classmethod
    def build(cls, vectors: NDArray[np.floating], parts: Parts, progress: Progress) -> "IvfIndex":
        """Index of vectors (N, dim); takes about a minute per half million on two cores.

        Args:
            vectors: rows to index.
            parts: columns that a query may lack together.
            progress: told of each step.
        Raises:
            InvalidInput: fewer than 39 vectors, not a matrix, or NaN or infinity in it.
        """
        rows = checked(vectors, None, "vectors")
        if len(rows) < TRAINING[0]:
            raise InvalidInput("index", f"ivf needs at least {TRAINING[0]} phrases, there are {len(rows)}; use flat")
        nlist = lists(len(rows))
        progress(f"ivf: {nlist} lists")
        index, k = _filled(rows, nlist), min(RECALL_AT, len(rows))
        nprobe: dict[Pattern, int] = {}
        recalls, queries = [1.0], 0
        for asked in query_sets(rows, parts):
            nprobe[asked.pattern], recall = least_effort(
                asked, rows, lambda q, n: _probed(index, n, q, k)[1], efforts(_MIN_NPROBE, nlist)
            )
            recalls.append(recall)
            queries += len(asked.queries)
            progress(f"ivf: nprobe {nprobe[asked.pattern]} for {asked.pattern}, recall {recall:.3f}")
        tuned = {"+".join(map(str, pattern)): number for pattern, number in (nprobe or {(): nlist}).items()}
        parameters = {"nlist": nlist, "storage": "fp16", "parts": list(parts.sizes), "nprobe": tuned}
        return cls(index, IndexInfo(cls.kind, parameters, round(min(recalls), 4), queries))

    def _search(self, vectors: Vectors, k: int, allowed: Mask | None, count: int) -> tuple[Vectors, Rows]:
        scores, rows = np.empty((len(vectors), k), np.float32), np.empty((len(vectors), k), np.int64)
        nlist, default = int(self._index.nlist), max(self._nprobe.values())
        tuned = np.array([self._nprobe.get(pattern, default) for pattern in self._parts.of(vectors)])
        # With a filter, enough lists that as many allowed rows are scanned as rows without one.
        wanted = np.minimum(-(-tuned * self.size // count), nlist)
        for nprobe in np.unique(wanted):
            same = np.flatnonzero(wanted == nprobe)
            scores[same], rows[same] = _probed(self._index, int(nprobe), vectors[same], k, allowed, self._gpu)
        if len(short := np.flatnonzero(rows[:, -1] < 0)):
            scores[short], rows[short] = _probed(self._index, nlist, vectors[short], k, allowed, self._gpu)
        return scores, rows

    @staticmethod
    def _holds(index: Any) -> bool:
        import faiss

        return isinstance(index, faiss.IndexIVFScalarQuantizer)


def lists(count: int) -> int:
    """Number of lists for `count` vectors: a power of two near 4 sqrt(count), if there are enough to train them."""
    power = 1 << round(np.log2(4 * np.sqrt(count)))
    return max(1, min(power, count // TRAINING[0]))


def _tuning(parameters: Mapping[str, Any], dim: int) -> tuple[Parts, dict[Pattern, int]]:
    """Parts of the embedding and nprobe by query pattern, from the parameters of an `IndexInfo`.

    Raises:
        InvalidArtifact: they are missing or inconsistent.
    """
    try:
        parts = Parts(tuple(int(size) for size in parameters["parts"]))
        nprobe = {
            tuple(int(part) for part in pattern.split("+") if part): int(number)
            for pattern, number in parameters["nprobe"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidArtifact(f"the parameters of the ivf index miss or garble {error}") from error
    if sum(parts.sizes) != dim or min(parts.sizes, default=0) < 1:
        raise InvalidArtifact(f"the parts {parts.sizes} of the ivf index are not its {dim} dimensions")
    if not nprobe or min(nprobe.values()) < 1:
        raise InvalidArtifact("the ivf index has no nprobe of 1 or more")
    return parts, nprobe


def _probed(
    index: Any, nprobe: int, vectors: Vectors, k: int, allowed: Mask | None = None, gpu: GpuCopy | None = None
) -> tuple[Vectors, Rows]:
    import faiss

    parameters = faiss.SearchParametersIVF(nprobe=nprobe, sel=None if allowed is None else bitmap(allowed))
    searched = gpu if gpu is not None and gpu.takes(k, allowed, nprobe) else index
    found: tuple[Vectors, Rows] = searched.search(vectors, k, params=parameters)
    return found


def _filled(rows: Vectors, nlist: int) -> Any:
    import faiss

    dim, half = rows.shape[1], faiss.ScalarQuantizer.QT_fp16
    centroids = faiss.IndexFlatIP(dim)
    index = faiss.IndexIVFScalarQuantizer(centroids, dim, nlist, half, faiss.METRIC_INNER_PRODUCT, False)
    index.cp.niter, index.cp.seed = _ITERATIONS, _SEED
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = TRAINING
    sample = min(len(rows), TRAINING[1] * nlist)
    index.train(rows[np.sort(np.random.default_rng(_SEED).choice(len(rows), sample, replace=False))])
    index.add(rows)
    return index
