"""What a server asks for phrases: dense search, reranking and variety in one call, for many requests at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from retrieval.library.embedding import Query
from retrieval.library.filters import EVERYTHING, PhraseFilter
from retrieval.library.library import LENGTH_DECAY, Hit, PhraseLibrary
from retrieval.search.diversity import likeness, marginal_order
from retrieval.search.rerank import FeatureReranker, Reranker

CANDIDATES = 100
"""Phrases that the dense search hands to the reranker."""


@dataclass(frozen=True)
class PhraseRequest:
    """What a motion needs phrases for.

    Attributes:
        query: the blocks that are known, embedded.
        text: the prompt itself, for rerankers that read; empty without one.
        num_frames: wanted length of a phrase at 30 fps, for the length kernel; None where any will do.
        filter: phrases that may be used.
        top_n: most phrases to return.
        variety: 0 the best ones however alike, towards 1 ever more different ones.
    """

    query: Query
    text: str = ""
    num_frames: int | None = None
    filter: PhraseFilter = EVERYTHING
    top_n: int = 3
    variety: float = 0.0

    def __post_init__(self) -> None:
        if self.top_n < 1:
            raise InvalidInput("top_n", f"must be at least 1, got {self.top_n}")
        if not 0 <= self.variety <= 1:
            raise InvalidInput("variety", f"must be between 0 and 1, got {self.variety}")


class PhraseFinder:
    """Finds phrases in one library; safe from many threads.

    Args:
        library: where to look.
        candidates: how many phrases the dense search hands on.
        reranker: None: the embedded one.
    """

    def __init__(self, library: PhraseLibrary, candidates: int = CANDIDATES, reranker: Reranker | None = None) -> None:
        if candidates < 1:
            raise InvalidInput("candidates", f"must be at least 1, got {candidates}")
        self.library = library
        self._candidates = candidates
        self._reranker = reranker or FeatureReranker(library.embedder)

    def find(self, requests: Sequence[PhraseRequest]) -> list[list[Hit]]:
        """At most `top_n` phrases for each request, best first; none where nothing matches.

        Raises:
            InvalidInput: a block of a query has the wrong size or is not finite.
            MissingDependency: the reranker's weights are not on this machine.
        """
        fetch = max([self._candidates, *(request.top_n for request in requests)])
        found = self.library.search_many(
            [request.query for request in requests], fetch, filters=[request.filter for request in requests]
        )
        return [
            # What others ask for must not change which phrases are compared.
            self._chosen(request, hits[: max(self._candidates, request.top_n)])
            for request, hits in zip(requests, found, strict=True)
        ]

    def _chosen(self, request: PhraseRequest, hits: Sequence[Hit]) -> list[Hit]:
        if not hits:
            return []
        scores = np.clip(self._reranker.scores(request.query, request.text, hits), 0, 1)
        scores = scores * length_kernel([hit.phrase.num_frames for hit in hits], request.num_frames)
        phrases = [hit.phrase for hit in hits]
        if request.variety > 0:
            order = marginal_order(scores, likeness(phrases, self.library.embedder), request.top_n, request.variety)
        else:
            order = np.argsort(-scores, kind="stable")[: request.top_n].tolist()
        return [replace(hits[i], score=float(scores[i]), rank=rank) for rank, i in enumerate(order)]


def length_kernel(own: Sequence[int], wanted: int | None) -> NDArray[np.float64]:
    """exp(-0.1 |dl| / max l) of ReMoDiffuse (Zhang et al. 2023) for phrases of `own` frames; ones if any will do."""
    lengths = np.asarray(own, np.float64)
    if wanted is None:
        return np.ones(len(lengths))
    return np.exp(-LENGTH_DECAY * np.abs(lengths - wanted) / np.maximum(lengths, wanted))
