"""What callers are told about the phrase library, and about phrases that were found in it."""

from dataclasses import asdict
from typing import Any

from retrieval.library.library import Hit
from serving.pipeline.encoded_request import EncodedRequest
from serving.pipeline.phrases import LibraryFacts, SearchResult
from serving.pipeline.request import MotionRequest


def library_document(facts: LibraryFacts | None) -> dict[str, Any] | None:
    """The library in use, or None without one."""
    return None if facts is None else asdict(facts)


def found_document(request: MotionRequest, encoded: EncodedRequest, found: SearchResult) -> dict[str, Any]:
    """The answer to a search: what was looked for, where, and what was found, best first."""
    query = {
        "text_prompt": request.text,
        "song": encoded.song,
        "tempo": round(encoded.tempo, 2),
        "variety": request.phrase_variety,
    }
    return {
        "library": library_document(found.library),
        "query": query,
        "reason": found.reason or None,
        "phrases": [_phrase(hit) for hit in found.hits],
    }


def _phrase(hit: Hit) -> dict[str, Any]:
    phrase = hit.phrase
    return {
        "rank": hit.rank + 1,
        "score": round(hit.score, 4),
        "similarity": round(hit.similarity, 4),
        "id": phrase.id,
        "source": phrase.source,
        "start": phrase.start,
        "seconds": round(phrase.seconds, 2),
        "genre": phrase.genre,
        "caption": phrase.caption,
        "tempo": phrase.tempo,
        "energy": phrase.energy,
        "licence": phrase.licence,
    }
