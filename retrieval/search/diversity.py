"""Diversification of search results by maximal marginal relevance (Carbonell and Goldstein 1998)."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.library.embedding import PhraseColumns, QueryEmbedder
from retrieval.library.phrases import Phrase

Array = NDArray[np.float64]

_COMPARED: Final = ("motion", "rhythm", "pattern", "timbre")
"""Blocks by which phrases are compared; not by text, since all candidates are similar to the prompt."""


def diversified(
    scores: NDArray[np.floating], similarity: NDArray[np.floating], count: int, variety: float
) -> list[int]:
    """Indices of `count` of n candidates: each step takes argmax (1 - variety) score - variety max similarity to taken.

    Args:
        scores: (n,) in [0, 1].
        similarity: (n, n) in [0, 1].
        count: how many to take.
        variety: 0 orders by score, ties by position; 1 looks at similarity alone after the first.
    """
    relevance = np.asarray(scores, np.float64)
    taken: list[int] = []
    nearest = np.zeros(len(relevance))
    free = np.ones(len(relevance), bool)
    while len(taken) < min(count, len(relevance)):
        gain = (1 - variety) * relevance - variety * nearest if taken else relevance
        best = int(np.argmax(np.where(free, gain, -np.inf)))
        taken.append(best)
        free[best] = False
        nearest = np.maximum(nearest, similarity[best])
    return taken


def similarities(phrases: Sequence[Phrase], embedder: QueryEmbedder) -> Array:
    """Pairwise similarity (n, n) in [0, 1]: 1 within a recording, else the mean cosine of the shared blocks."""
    zeros = np.zeros((len(phrases), embedder.config.text_dim))
    vectors = embedder.phrases(PhraseColumns.of(phrases), zeros)
    total, mean = np.zeros((len(phrases),) * 2), np.zeros((len(phrases),) * 2)
    for name in _COMPARED:
        # Blocks that are present have the square root of their weight as length.
        block = np.asarray(embedder.block(vectors, name), np.float64)
        present = np.abs(block).max(1) > 0
        total += getattr(embedder.config.weights, name) * np.outer(present, present)
        mean += block @ block.T
    mean = np.divide(mean * sum(astuple(embedder.config.weights)), total, out=np.zeros_like(mean), where=total > 0)
    sources = np.array([phrase.source for phrase in phrases])
    # Phrases without a source are not from one recording, but from unknown ones.
    same = (sources[:, None] == sources[None]) & (sources[:, None] != "")
    return np.where(same | np.eye(len(phrases), dtype=bool), 1.0, np.clip(mean, 0, 1))
