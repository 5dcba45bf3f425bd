"""A phrase library: a folder with a table, a memory-mapped motion array, an index and a manifest.

* phrases.parquet: one row per phrase.
* motion.npy: int16 millimetres (frames of all phrases, 22, 3).
* index.faiss: embeddings, row i of phrase i.
* manifest.json: format version, embedding configuration, counts, sizes and hashes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, InvalidInput
from choreo.motion.skeleton import NUM_JOINTS
from retrieval.embedding import Query, QueryEmbedder
from retrieval.index import FlatIndex, VectorIndex
from retrieval.manifest import HASH_LIMIT, INDEX, MOTION, TABLE, Manifest
from retrieval.phrases import MILLIMETRES, Phrase
from retrieval.table import PhraseTable

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
        table, index = PhraseTable.read(path / TABLE), FlatIndex.load(path / INDEX)
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

    def search(self, query: Query, k: int, length: int | None = None) -> list[Hit]:
        """The k best phrases for a query, best first; see `search_many`."""
        return self.search_many([query], k, None if length is None else [length])[0]

    def search_many(self, queries: Sequence[Query], k: int, lengths: Sequence[int] | None = None) -> list[list[Hit]]:
        """The k best phrases for each query, best first, ties in the library's order.

        Args:
            queries: what to look for. One that says nothing (no blocks, or zero vectors) finds nothing.
            k: most hits per query; fewer where the library has fewer.
            lengths: wanted numbers of frames; positive scores are multiplied by exp(-0.1 |dl| / max l).
        Raises:
            InvalidInput: k or a length below 1, or a query block of the wrong size or with NaN.
        """
        if k < 1:
            raise InvalidInput("k", f"must be at least 1, got {k}")
        if lengths is not None and (len(lengths) != len(queries) or min(lengths, default=1) < 1):
            raise InvalidInput("length", f"must be at least 1 frame for each of {len(queries)} queries, got {lengths}")
        vectors = self.embedder.queries(queries)
        out: list[list[Hit]] = [[] for _ in queries]
        telling = np.flatnonzero(np.abs(vectors).sum(1) > 0)
        fetch = k if lengths is None else max(2 * k, _MIN_FETCH)
        # A phrase that was not fetched can only win by its length if it was nearly as like as those that were.
        while len(telling):
            found = self._index.search(vectors[telling], fetch)
            again = []
            for i, neighbours in zip(telling, found, strict=True):
                scores = self._scored(neighbours.scores, neighbours.rows, None if lengths is None else lengths[i])
                order = np.lexsort((neighbours.rows, -scores))[:k]
                out[i] = [
                    Hit(self._table[int(neighbours.rows[j])], float(scores[j]), rank, _cosine(neighbours.scores[j]))
                    for rank, j in enumerate(order)
                ]
                complete = lengths is None or len(neighbours.rows) >= len(self)
                if not complete and neighbours.scores[-1] > scores[order[-1]]:
                    again.append(i)
            telling, fetch = np.array(again, np.int64), 4 * fetch
        return out

    def _scored(self, cosines: NDArray[np.float32], rows: NDArray[np.int64], length: int | None) -> NDArray[np.float64]:
        scores = np.clip(cosines.astype(np.float64), -1, 1)
        if length is None:
            return scores
        own = self._table.num_frames[rows]
        kernel = np.exp(-LENGTH_DECAY * np.abs(own - length) / np.maximum(own, length))
        # A phrase that is unlike what was asked for does not become better by having the wrong length, too.
        return np.where(scores > 0, scores * kernel, scores)

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


def _cosine(score: np.float32) -> float:
    return float(np.clip(score, -1, 1))


def _map_motion(path: Path) -> NDArray[np.int16]:
    try:
        motion = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidArtifact(f"{path.name} is not a readable array") from error
    if motion.dtype != np.int16 or motion.ndim != 3 or motion.shape[1:] != (NUM_JOINTS, 3):
        raise InvalidArtifact(f"{path.name} holds {motion.dtype} {motion.shape}, not int16 (T, {NUM_JOINTS}, 3)")
    return motion
