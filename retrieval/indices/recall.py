"""Recall against exact search, synthetic queries to measure it with, and the least effort for the recall wanted.

Phrases with the same text are equally near to a prompt, so a row counts as found if its true score is not below that
of the tenth-best row; which of several equal rows was found does not matter.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.indices.base import RECALL_AT, Rows, Vectors

WANTED: Final = 0.99
MARGIN: Final = 0.005
"""The recall measured on a sample must exceed `WANTED`, which is promised for all queries, by this much."""
QUERIES: Final = 256
"""Number of queries of each pattern."""
TIE: Final = 5e-4
"""Cosines closer than this are equal: half precision cannot resolve them, nor can people tell such phrases apart."""
_STEP: Final = 0.3
_EPS: Final = 1e-6

Pattern = tuple[int, ...]
"""Which parts of the embedding a query has: their numbers."""


@dataclass(frozen=True)
class Parts:
    """Groups of adjacent columns of the embedding that a query has or lacks as a whole; `sizes` are column counts."""

    sizes: tuple[int, ...]

    @property
    def patterns(self) -> list[Pattern]:
        """All non-empty subsets of the parts."""
        every = range(len(self.sizes))
        return [p for n in range(1, len(self.sizes) + 1) for p in itertools.combinations(every, n)]

    def slices(self) -> list[slice]:
        """Columns of each part."""
        ends = list(itertools.accumulate(self.sizes))
        return [slice(end - size, end) for end, size in zip(ends, self.sizes, strict=True)]

    def of(self, queries: Vectors) -> list[Pattern]:
        """The pattern of each query: its parts that are not zero."""
        present = np.stack([queries[:, part].any(1) for part in self.slices()], axis=1)
        return [tuple(int(i) for i in np.flatnonzero(row)) for row in present]


@dataclass(frozen=True)
class QuerySet:
    """Queries (Q, D) of one pattern, and the score (Q,) from which on a row counts as found for each."""

    pattern: Pattern
    queries: Vectors
    threshold: Vectors

    def recall(self, vectors: Vectors, found: Rows) -> float:
        """Share of the rows `found` (Q, 10; -1: none) that are among the best, by their exact scores."""
        scores = np.einsum("qd,qkd->qk", self.queries, vectors[np.maximum(found, 0)])
        return float(((found >= 0) & (scores >= self.threshold[:, None] - TIE)).mean())


def query_sets(vectors: Vectors, parts: Parts, count: int = QUERIES) -> list[QuerySet]:
    """Queries of every pattern that the vectors (N, D) allow, each with the tenth score of exact search.

    A query is made of rows, each part moved along 0.3 times the difference of two other rows, so that it is like the
    vectors but not among them. Half of the queries take all parts from one row, like a song with its own caption; the
    other half take each part from another row, like a request for a waltz to any song.
    """
    import faiss

    rng = np.random.default_rng(0)
    asked = {p: _queries(vectors, [parts.slices()[i] for i in p], count, rng) for p in parts.patterns}
    asked = {pattern: queries for pattern, queries in asked.items() if len(queries)}
    if not asked:
        return []
    # In one call, because FAISS multiplies matrices if queries are many, which takes a tenth of the time.
    together, k = np.concatenate(list(asked.values())), min(RECALL_AT, len(vectors))
    best, _ = faiss.knn(together, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    tenth = np.split(best[:, -1], len(asked))
    return [QuerySet(p, queries, threshold) for (p, queries), threshold in zip(asked.items(), tenth, strict=True)]


def least_effort(
    asked: QuerySet, vectors: Vectors, search: Callable[[Vectors, int], Rows], efforts: Sequence[int]
) -> tuple[int, float]:
    """The smallest of ascending efforts at which `search(queries, effort)` reaches the wanted recall, and that recall.

    If none does, the last effort and the recall it reaches.
    """
    last = len(efforts) - 1
    reached: dict[int, float] = {}

    def recall(i: int) -> float:
        if i not in reached:
            reached[i] = asked.recall(vectors, search(asked.queries, efforts[i]))
        return reached[i]

    # Ascending, in steps of two: one search at a high effort costs as much as all those before it together.
    step = next((i for i in range(0, last, 2) if recall(i) >= WANTED + MARGIN), last)
    best = step - 1 if step and recall(step - 1) >= WANTED + MARGIN else step
    return efforts[best], recall(best)


def efforts(first: int, last: int) -> list[int]:
    """Ascending numbers from `first` to `last`, each about a fifth above the one before."""
    out = [min(first, last)]
    while out[-1] < last:
        out.append(min(max(out[-1] + 1, round(out[-1] * 1.2)), last))
    return out


def _queries(vectors: Vectors, columns: list[slice], count: int, rng: np.random.Generator) -> Vectors:
    """Queries (count, D) with these parts; (0, D) if hardly any vector has one of them."""
    out = np.zeros((count, vectors.shape[1]), np.float32)
    own = rng.integers(0, len(vectors), count)
    for part in columns:
        origins = np.where(np.arange(count) % 2, own, rng.permutation(own))
        block = _present(vectors, origins, part, rng)
        if block is None:
            return out[:0]
        length = np.linalg.norm(block, axis=1, keepdims=True)
        others = vectors[rng.integers(0, len(vectors), (2, count)), part]
        moved = block + _STEP * (others[0] - others[1])
        out[:, part] = moved * length / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), _EPS)
    # Scaled as queries are: scores reach 1 whatever parts there are.
    return out / np.maximum((out**2).sum(1, keepdims=True), _EPS)


def _present(
    vectors: Vectors, rows: NDArray[np.int64], part: slice, rng: np.random.Generator, tries: int = 1000
) -> Vectors | None:
    """A part of these rows, taken from random other rows where it is zero; None if it is zero almost everywhere."""
    block = vectors[rows, part]
    empty = np.linalg.norm(block, axis=1) < _EPS
    if empty.any():
        drawn = vectors[rng.integers(0, len(vectors), tries), part]
        drawn = drawn[np.linalg.norm(drawn, axis=1) >= _EPS]
        if not len(drawn):
            return None
        block[empty] = drawn[rng.integers(0, len(drawn), int(empty.sum()))]
    return block
