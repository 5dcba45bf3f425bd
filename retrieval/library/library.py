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
from retrieval.library.embedding import Query, QueryEmbedder, Vectors
from retrieval.library.filters import EVERYTHING, PhraseFilter
from retrieval.library.manifest import HASH_LIMIT, INDEX, MOTION, TABLE, Manifest
from retrieval.library.phrases import MILLIMETRES, Phrase
from retrieval.library.table import PhraseTable

LENGTH_DECAY = 0.1
"""Lambda of ReMoDiffuse's length kernel exp(-lambda |dl| / max l)."""
_MIN_FETCH = 64


@dataclass(frozen=True)
class Hit:
    """A phrase that was found.

    Attributes:
        score: what the order is by. From the dense search: the similarity, times the length kernel if it is positive;
            from a reranker: its calibrated probability in [0, 1] that the phrase fits.
        rank: 0 for the best.
        similarity: cosine of the embeddings in [-1, 1].
    """

    phrase: Phrase
    score: float
    rank: int
    similarity: float


class PhraseLibrary:
    """An open library; searching and reading are safe from many threads."""

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
            hash_limit: largest file whose hash is checked, bytes; sizes always are.
        Raises:
            InvalidArtifact: not a library, of another version or encoder, incomplete, cut off, or inconsistent.
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

    def motion(self, phrase: Phrase) -> NDArray[np.float32]:
        """Positions (T, 22, 3) of a phrase in metres, beginning at the origin and facing +z; a copy."""
        rows = self._motion[phrase.first_row : phrase.first_row + phrase.num_frames]
        return rows.astype(np.float32) / MILLIMETRES

    @property
    def place(self) -> str:
        """Where the index is searched (a processor or a GPU), and why there."""
        return self._index.place

    def search(self, query: Query, k: int, length: int | None = None, filter: PhraseFilter = EVERYTHING) -> list[Hit]:
        """The k best phrases for a query, best first; see `search_many`."""
        return self.search_many([query], k, None if length is None else [length], [filter])[0]

    def search_many(
        self,
        queries: Sequence[Query],
        k: int,
        lengths: Sequence[int] | None = None,
        filters: Sequence[PhraseFilter] | None = None,
    ) -> list[list[Hit]]:
        """The k best phrases for each query, best first, ties in the library's order.

        Args:
            queries: what to look for. One that says nothing (no blocks, or zero vectors) finds nothing.
            k: most hits per query; fewer where fewer are there.
            lengths: wanted numbers of frames; positive scores are multiplied by exp(-0.1 |dl| / max l).
            filters: what each query may find; queries with equal ones are searched together.
        Raises:
            InvalidInput: k or a length below 1, a query block of the wrong size or with NaN, or not one length and
                one filter for each query.
        """
        if k < 1:
            raise InvalidInput("k", f"must be at least 1, got {k}")
        if lengths is not None and (len(lengths) != len(queries) or min(lengths, default=1) < 1):
            raise InvalidInput("length", f"must be at least 1 frame for each of {len(queries)} queries, got {lengths}")
        if filters is not None and len(filters) != len(queries):
            raise InvalidInput("filters", f"must be one for each of {len(queries)} queries, got {len(filters)}")
        vectors = self.embedder.queries(queries)
        best: list[Neighbours] = [Neighbours(np.zeros(0, np.int64), np.zeros(0, np.float32))] * len(queries)
        alike: dict[PhraseFilter, list[int]] = defaultdict(list)
        for i in np.flatnonzero(vectors.any(1)).tolist():
            alike[EVERYTHING if filters is None else filters[i]].append(i)
        for condition, these in alike.items():
            allowed = None if condition.allows_everything else condition.rows(self._table)
            wanted = None if lengths is None else [lengths[i] for i in these]
            for i, found in zip(these, self._best(vectors[these], k, wanted, allowed), strict=True):
                best[i] = found
        return self._hits(best, lengths)

    def _best(
        self, vectors: Vectors, k: int, lengths: Sequence[int] | None, allowed: NDArray[np.bool_] | None
    ) -> list[Neighbours]:
        """The k best rows for each vector among the allowed ones, by similarity and length."""
        fetch = k if lengths is None else max(2 * k, _MIN_FETCH)
        found = self._index.search(vectors, fetch, allowed)
        if lengths is None:
            return [self._ordered(neighbours, None, k) for neighbours in found]
        out = []
        for vector, length, neighbours in zip(vectors, lengths, found, strict=True):
            out.append(self._with_length(vector, length, neighbours, k, fetch, allowed))
        return out

    def _with_length(
        self,
        vector: NDArray[np.float32],
        length: int,
        neighbours: Neighbours,
        k: int,
        fetch: int,
        allowed: NDArray[np.bool_] | None,
    ) -> Neighbours:
        """The k best by similarity and length, beginning from the `fetch` most similar.

        What was not fetched is at most as similar as the last that was, so it can only win if its length is near
        enough; only such phrases are searched again, and more of them, until the last one fetched cannot win.
        """
        best = self._ordered(neighbours, length, k)
        while len(neighbours.rows) == fetch:
            last = min(float(neighbours.scores[-1]), 1.0)
            worst = self._scored(best, length)[-1]
            if last <= max(worst, 0):
                break
            near = self._kernel(length) * last > worst
            if allowed is not None:
                near &= allowed
            fetch *= 4
            neighbours = self._index.search(vector[None], fetch, near)[0]
            best = self._ordered(_union(best, neighbours), length, k)
        return best

    def _hits(self, best: Sequence[Neighbours], lengths: Sequence[int] | None) -> list[list[Hit]]:
        rows = np.concatenate([found.rows for found in best]) if best else np.zeros(0, np.int64)
        distinct, which = np.unique(rows, return_inverse=True)
        phrases = self._table.phrases(distinct)
        every = iter(which.tolist())
        out = []
        for i, found in enumerate(best):
            scores = self._scored(found, None if lengths is None else lengths[i]).tolist()
            cosines = np.clip(found.scores, -1, 1).tolist()
            pairs = zip(scores, cosines, strict=True)
            out.append([Hit(phrases[next(every)], score, rank, cos) for rank, (score, cos) in enumerate(pairs)])
        return out

    def _ordered(self, found: Neighbours, length: int | None, k: int) -> Neighbours:
        order = np.lexsort((found.rows, -self._scored(found, length)))[:k]
        return Neighbours(found.rows[order], found.scores[order])

    def _scored(self, found: Neighbours, length: int | None) -> NDArray[np.float64]:
        scores = np.clip(found.scores.astype(np.float64), -1, 1)
        if length is None:
            return scores
        # A phrase that is unlike what was asked for does not become better by having the wrong length, too.
        return np.where(scores > 0, scores * self._kernel(length, found.rows), scores)

    def _kernel(self, length: int, rows: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """ReMoDiffuse's length kernel of these rows; of all."""
        own = self._table.num_frames if rows is None else self._table.num_frames[rows]
        kernel: NDArray[np.float64] = np.exp(-LENGTH_DECAY * np.abs(own - length) / np.maximum(own, length))
        return kernel

    def _check(self) -> None:
        counts = {len(self._table), self._index.size, self.manifest.phrases}
        if len(counts) != 1 or self._index.dim != self.manifest.embedding.dim:
            raise InvalidArtifact(
                f"table, index and manifest disagree: {len(self._table)}, {self._index.size} and "
                f"{self.manifest.phrases} phrases, {self._index.dim} and {self.manifest.embedding.dim} dimensions"
            )
        first, count = self._table.first_row, self._table.num_frames
        inside = (first >= 0) & (count >= 2) & (first + count <= len(self._motion))
        if len(self._motion) != self.manifest.frames or not inside.all():
            raise InvalidArtifact(f"{MOTION} does not hold the frames that the table names")


def _union(one: Neighbours, other: Neighbours) -> Neighbours:
    rows, first = np.unique(np.concatenate([one.rows, other.rows]), return_index=True)
    return Neighbours(rows, np.concatenate([one.scores, other.scores])[first])


def _map_motion(path: Path) -> NDArray[np.int16]:
    try:
        motion = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidArtifact(f"{path.name} is not a readable array") from error
    if motion.dtype != np.int16 or motion.ndim != 3 or motion.shape[1:] != (NUM_JOINTS, 3):
        raise InvalidArtifact(f"{path.name} holds {motion.dtype} {motion.shape}, not int16 (T, {NUM_JOINTS}, 3)")
    return motion
