"""Variety: maximal marginal relevance (Carbonell and Goldstein 1998) instead of the same phrase several times."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.library.embedding import PhraseColumns, QueryEmbedder
from retrieval.library.phrases import Phrase

Array = NDArray[np.float64]

_UNLIKE: Final = ("motion", "rhythm", "pattern", "timbre")
"""Blocks that two phrases are compared by. Words are left out: they follow the prompt, and so are alike."""


def marginal_order(
    scores: NDArray[np.floating], likeness: NDArray[np.floating], count: int, variety: float
) -> list[int]:
    """Which `count` of n candidates to take, in order: each time the greatest (1 - variety) score - variety likeness.

    Args:
        scores: (n,) in [0, 1].
        likeness: (n, n) in [0, 1]; what counts is that to the most alike of those already taken.
        count: how many.
        variety: 0 is the order of scores, ties by position; 1 looks at likeness alone after the first.
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
        nearest = np.maximum(nearest, likeness[best])
    return taken


def likeness(phrases: Sequence[Phrase], embedder: QueryEmbedder) -> Array:
    """How alike phrases are, (n, n) in [0, 1]: 1 within a recording, else the mean cosine of the blocks both have."""
    blank = np.zeros((len(phrases), embedder.config.text_dim))
    vectors = embedder.phrases(PhraseColumns.of(phrases), blank)
    total, mean = np.zeros((len(phrases),) * 2), np.zeros((len(phrases),) * 2)
    for name in _UNLIKE:
        # Blocks that are there have one length, the square root of their weight.
        block = np.asarray(embedder.block(vectors, name), np.float64)
        there = np.abs(block).max(1) > 0
        total += getattr(embedder.config.weights, name) * np.outer(there, there)
        mean += block @ block.T
    mean = np.divide(mean * sum(astuple(embedder.config.weights)), total, out=np.zeros_like(mean), where=total > 0)
    sources = np.array([phrase.source for phrase in phrases])
    # Phrases without a source are of recordings that nobody knows, not of the same one.
    same = (sources[:, None] == sources[None]) & (sources[:, None] != "")
    return np.where(same | np.eye(len(phrases), dtype=bool), 1.0, np.clip(mean, 0, 1))
