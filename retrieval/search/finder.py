"""Dense search, reranking and diversification in one call, for a batch of requests."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from choreo.errors import InvalidInput
from retrieval.library.embedding import Query
from retrieval.library.filters import EVERYTHING, PhraseFilter
from retrieval.library.library import Hit, PhraseLibrary
from retrieval.search.diversity import diversified, similarities
from retrieval.search.rerank import FeatureReranker, Reranker

CANDIDATES = 100
"""Number of phrases that the dense search passes to the reranker."""


@dataclass(frozen=True)
class PhraseRequest:
    """What a motion needs phrases for.

    Attributes:
        query: the known blocks, embedded.
        text: the prompt itself, for rerankers that read it; empty without one.
        filter: phrases that may be used.
        top_n: maximum number of phrases to return.
        variety: 0 for the best phrases however similar to each other, up to 1 for increasingly different ones.
    Raises:
        InvalidInput: `top_n` below 1, or `variety` outside [0, 1].
    """

    query: Query
    text: str = ""
    filter: PhraseFilter = EVERYTHING
    top_n: int = 3
    variety: float = 0.0

    def __post_init__(self) -> None:
        if self.top_n < 1:
            raise InvalidInput("top_n", f"must be at least 1, got {self.top_n}")
        if not 0 <= self.variety <= 1:
            raise InvalidInput("variety", f"must be between 0 and 1, got {self.variety}")


class PhraseFinder:
    """Finds phrases in one library; thread-safe.

    Args:
        library: to search.
        reranker: None: the default one, `FeatureReranker`.
    """

    def __init__(self, library: PhraseLibrary, reranker: Reranker | None = None) -> None:
        self.library = library
        self._reranker = reranker or FeatureReranker(library.embedder)

    def find(self, requests: Sequence[PhraseRequest]) -> list[list[Hit]]:
        """At most `top_n` phrases for each request, best first; none if nothing matches.

        Raises:
            InvalidInput: a block of a query has the wrong size or is not finite.
            MissingDependency: the reranker's weights are not on this machine.
        """
        fetch = max([CANDIDATES, *(request.top_n for request in requests)])
        found = self.library.search_many(
            [request.query for request in requests], fetch, filters=[request.filter for request in requests]
        )
        return [
            # The candidates of a request must not depend on the other requests of the batch.
            self._ranked(request, hits[: max(CANDIDATES, request.top_n)])
            for request, hits in zip(requests, found, strict=True)
        ]

    def _ranked(self, request: PhraseRequest, hits: Sequence[Hit]) -> list[Hit]:
        if not hits:
            return []
        scores = np.clip(self._reranker.scores(request.query, request.text, hits), 0, 1)
        if request.variety > 0:
            alike = similarities([hit.phrase for hit in hits], self.library.embedder)
            order = diversified(scores, alike, request.top_n, request.variety)
        else:
            order = np.argsort(-scores, kind="stable")[: request.top_n].tolist()
        return [replace(hits[i], score=float(scores[i]), rank=rank) for rank, i in enumerate(order)]
