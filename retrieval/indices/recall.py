"""Recall against exact search, questions to measure it with, and the least effort that reaches what is wanted.

Phrases that share a text are equally near to a prompt, so a found row counts when its true score is not below the
score of the tenth-best row; which of the equals was found does not matter.
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
"""What is measured on some queries must be better than what is promised for all by this much."""
QUERIES: Final = 256
"""Questions of each pattern."""
TIE: Final = 5e-4
"""Cosines this near are equal: half precision resolves no less, and nobody could tell such phrases apart."""
_UNLIKE: Final = 0.3
_EPS: Final = 1e-6

Pattern = tuple[int, ...]
"""Which parts of an embedding a query has: numbers of the parts."""


@dataclass(frozen=True)
class Parts:
    """The parts of an embedding that a query may lack as a whole, by their columns' count."""

    sizes: tuple[int, ...]

    @property
    def patterns(self) -> list[Pattern]:
        """Every way to have some of the parts."""
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
class Probe:
    """Questions of one pattern (Q, D), and the score that a row must reach to count for each (Q,)."""

    pattern: Pattern
    queries: Vectors
    threshold: Vectors

    def recall(self, vectors: Vectors, found: Rows) -> float:
        """Share of the rows `found` (Q, 10) that are among the best; -1 is none. Their scores are computed anew."""
        scores = np.einsum("qd,qkd->qk", self.queries, vectors[np.maximum(found, 0)])
        return float(((found >= 0) & (scores >= self.threshold[:, None] - TIE)).mean())


def probes(vectors: Vectors, parts: Parts, count: int = QUERIES, seed: int = 0) -> list[Probe]:
    """Questions of every pattern that the vectors (N, D) allow, each with the exact answer's tenth score.

    A question is made of rows, each part moved by a third of the difference of two other rows: like what is there,
    but not there. Half of the questions take all their parts from one row, as a song with the caption it has; the
    other half take each from another row, as somebody who wants a waltz to any song.
    """
    import faiss

    rng = np.random.default_rng(seed)
    asked = {p: _questions(vectors, [parts.slices()[i] for i in p], count, rng) for p in parts.patterns}
    asked = {pattern: queries for pattern, queries in asked.items() if len(queries)}
    if not asked:
        return []
    # All in one call: FAISS multiplies matrices where queries are many, which takes a tenth of the time.
    together, k = np.concatenate(list(asked.values())), min(RECALL_AT, len(vectors))
    best, _ = faiss.knn(together, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    tenth = np.split(best[:, -1], len(asked))
    return [Probe(p, queries, threshold) for (p, queries), threshold in zip(asked.items(), tenth, strict=True)]


def least_effort(
    probe: Probe, vectors: Vectors, search: Callable[[Vectors, int], Rows], efforts: Sequence[int]
) -> tuple[int, float]:
    """The smallest of rising efforts at which `search(queries, effort)` reaches the wanted recall, and that recall.

    The last effort with whatever it reaches where none does.
    """
    low, high = 0, len(efforts) - 1
    reached: dict[int, float] = {}

    def recall(i: int) -> float:
        if i not in reached:
            reached[i] = probe.recall(vectors, search(probe.queries, efforts[i]))
        return reached[i]

    # From below, since a search with much effort costs as much as all those before it together.
    step = next((i for i in range(low, high, 2) if recall(i) >= WANTED + MARGIN), high)
    best = step - 1 if step and recall(step - 1) >= WANTED + MARGIN else step
    return efforts[best], recall(best)


def efforts(first: int, last: int) -> list[int]:
    """Rising numbers from `first` to `last`, each about a fifth above the one before."""
    out = [min(first, last)]
    while out[-1] < last:
        out.append(min(max(out[-1] + 1, round(out[-1] * 1.2)), last))
    return out


def _questions(vectors: Vectors, columns: list[slice], count: int, rng: np.random.Generator) -> Vectors:
    out = np.zeros((count, vectors.shape[1]), np.float32)
    own = rng.integers(0, len(vectors), count)
    for part in columns:
        shuffled = np.where(np.arange(count) % 2, own, rng.permutation(own))
        block = _filled(vectors, shuffled, part, rng)
        if block is None:
            return out[:0]
        length = np.linalg.norm(block, axis=1, keepdims=True)
        others = vectors[rng.integers(0, len(vectors), (2, count)), part]
        moved = block + _UNLIKE * (others[0] - others[1])
        out[:, part] = moved * length / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), _EPS)
    # As queries are: scores reach 1 whatever parts there are.
    return out / np.maximum((out**2).sum(1, keepdims=True), _EPS)


def _filled(
    vectors: Vectors, rows: NDArray[np.int64], part: slice, rng: np.random.Generator, tries: int = 1000
) -> Vectors | None:
    """The part of these rows; of others where it is empty; None where it is empty almost everywhere."""
    block = vectors[rows, part]
    empty = np.linalg.norm(block, axis=1) < _EPS
    if empty.any():
        drawn = vectors[rng.integers(0, len(vectors), tries), part]
        drawn = drawn[np.linalg.norm(drawn, axis=1) >= _EPS]
        if not len(drawn):
            return None
        block[empty] = drawn[rng.integers(0, len(drawn), int(empty.sum()))]
    return block
