"""A phrase library: a folder with a table, a memory-mapped motion array, an index and a manifest.

* phrases.parquet: one row per phrase.
* motion.npy: int16 millimetres (frames of all phrases, 22, 3).
* index.faiss: embeddings, row i of phrase i.
* manifest.json: format version, embedding configuration, counts, sizes and hashes.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, InvalidInput
from choreo.motion.skeleton import NUM_JOINTS
from retrieval.indices.index import Neighbours, VectorIndex, load_index
from retrieval.library.embedding import Query, QueryEmbedder
from retrieval.library.filters import EVERYTHING, PhraseFilter
from retrieval.library.manifest import HASH_LIMIT, INDEX, MOTION, TABLE, Manifest
from retrieval.library.phrases import MILLIMETRES, Phrase
from retrieval.library.table import PhraseTable


@dataclass(frozen=True)
class Hit:
    """A phrase that was found.

    Attributes:
        phrase: the phrase.
        score: the sort key. From the dense search, the similarity; from a reranker, its calibrated probability in
            [0, 1] that the phrase fits.
        rank: 0 for the best.
        similarity: cosine of the embeddings in [-1, 1].
    """

    phrase: Phrase
    score: float
    rank: int
    similarity: float


class PhraseLibrary:
    """An open library; searching and reading are thread-safe.

    Attributes:
        manifest: description of the library.
        embedder: for queries and phrases in the library's embedding space.
    """

    def __init__(self, manifest: Manifest, table: PhraseTable, motion: NDArray[np.int16], index: VectorIndex) -> None:
        self.manifest = manifest
        self.embedder = QueryEmbedder(manifest.embedding)
        self._table, self._motion, self._index = table, motion, index

    @classmethod
    def open(cls, path: Path, encoder: tuple[str, int] | None = None, hash_limit: int = HASH_LIMIT) -> "PhraseLibrary":
        """Open and validate a library.

        Args:
            path: its folder.
            encoder: name and dimension of the text encoder that queries will come from.
            hash_limit: size in bytes up to which the hash of a file is checked; sizes always are.
        Raises:
            InvalidArtifact: not a library, of another version or encoder, incomplete, truncated, or inconsistent.
            MissingDependency: pyarrow is not usable.
        """
        manifest = Manifest.read(path)
        if encoder is not None:
            QueryEmbedder(manifest.embedding).require(*encoder)
        manifest.check_files(path, hash_limit)
        table = PhraseTable.read(path / TABLE)
        index = load_index(path / INDEX, manifest.index.kind, manifest.index.parameters)
        library = cls(manifest, table, _map_motion(path / MOTION), index)
        library._check()
        return library

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, row: int) -> Phrase:
        return self._table[row]

    @property
    def version(self) -> str:
        """Hash of the library's content."""
        return self.manifest.content

    @property
    def place(self) -> str:
        """Where the index is searched (a GPU or the CPU), and why there."""
        return self._index.place

    def motion(self, phrase: Phrase) -> NDArray[np.float32]:
        """Positions (T, 22, 3) of a phrase in metres, starting at the origin and facing +z; a copy."""
        rows = self._motion[phrase.first_row : phrase.first_row + phrase.num_frames]
        return rows.astype(np.float32) / MILLIMETRES

    def search(self, query: Query, k: int, filter: PhraseFilter = EVERYTHING) -> list[Hit]:
        """The k best phrases for one query; arguments and errors as of `search_many`."""
        return self.search_many([query], k, [filter])[0]

    def search_many(
        self, queries: Sequence[Query], k: int, filters: Sequence[PhraseFilter] | None = None
    ) -> list[list[Hit]]:
        """The k most similar phrases for each query, best first, ties in the library's order.

        Args:
            queries: what to look for. An empty one (no blocks, or zero vectors) finds nothing.
            k: maximum number of hits per query.
            filters: one for each query; queries with equal filters are searched together.
        Raises:
            InvalidInput: k below 1, a query block of the wrong size or with NaN, or not one filter for each query.
        """
        if k < 1:
            raise InvalidInput("k", f"must be at least 1, got {k}")
        if filters is not None and len(filters) != len(queries):
            raise InvalidInput("filters", f"must be one for each of {len(queries)} queries, got {len(filters)}")
        vectors = self.embedder.queries(queries)
        found = [Neighbours(np.zeros(0, np.int64), np.zeros(0, np.float32))] * len(queries)
        by_filter: dict[PhraseFilter, list[int]] = defaultdict(list)
        for i in np.flatnonzero(vectors.any(1)).tolist():
            by_filter[EVERYTHING if filters is None else filters[i]].append(i)
        for condition, members in by_filter.items():
            allowed = None if condition.allows_everything else condition.rows(self._table)
            for i, neighbours in zip(members, self._index.search(vectors[members], k, allowed), strict=True):
                scores = np.clip(neighbours.scores, -1, 1)
                order = np.lexsort((neighbours.rows, -scores))
                found[i] = Neighbours(neighbours.rows[order], scores[order])
        return self._hits(found)

    def _hits(self, found: Sequence[Neighbours]) -> list[list[Hit]]:
        rows = np.concatenate([np.zeros(0, np.int64), *(neighbours.rows for neighbours in found)])
        distinct, positions = np.unique(rows, return_inverse=True)
        phrases, position = self._table.phrases(distinct), iter(positions.tolist())
        return [
            [Hit(phrases[next(position)], score, rank, score) for rank, score in enumerate(neighbours.scores.tolist())]
            for neighbours in found
        ]

    def _check(self) -> None:
        counts = {len(self._table), self._index.size, self.manifest.phrases}
        if len(counts) != 1 or self._index.dim != self.manifest.embedding.dim:
            raise InvalidArtifact(
                f"table, index and manifest disagree: {len(self._table)}, {self._index.size} and "
                f"{self.manifest.phrases} phrases, {self._index.dim} and {self.manifest.embedding.dim} dimensions"
            )
        first, count = self._table.numbers("first_row"), self._table.numbers("num_frames")
        inside = (first >= 0) & (count >= 2) & (first + count <= len(self._motion))
        if len(self._motion) != self.manifest.frames or not inside.all():
            raise InvalidArtifact(f"{MOTION} does not hold the frames that the table names")


def _map_motion(path: Path) -> NDArray[np.int16]:
    try:
        motion = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidArtifact(f"{path.name} is not a readable array") from error
    if motion.dtype != np.int16 or motion.ndim != 3 or motion.shape[1:] != (NUM_JOINTS, 3):
        raise InvalidArtifact(f"{path.name} holds {motion.dtype} {motion.shape}, not int16 (T, {NUM_JOINTS}, 3)")
    return motion
