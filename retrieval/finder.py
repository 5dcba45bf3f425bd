"""What a server asks for phrases: dense search, reranking and variety in one call, for many requests at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

from choreo.errors import InvalidInput
from retrieval.embedding import Query
from retrieval.filters import EVERYTHING, PhraseFilter
from retrieval.library import Hit, PhraseLibrary

CANDIDATES = 50
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
    """

    def __init__(self, library: PhraseLibrary, candidates: int = CANDIDATES) -> None:
        self.library = library
        self._candidates = candidates

    def find(self, requests: Sequence[PhraseRequest]) -> list[list[Hit]]:
        """At most `top_n` phrases for each request, best first; none where nothing matches."""
        queries = [request.query for request in requests]
        fetch = max([self._candidates, *(request.top_n for request in requests)])
        found = self.library.search_many(queries, fetch)
        return [hits[: request.top_n] for hits, request in zip(found, requests, strict=True)]
