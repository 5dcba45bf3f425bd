"""What retrieval is asked, and what it answers: phrases, the prior made of them, facts about the library."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.library.embedding import Query
from retrieval.library.filters import EVERYTHING, PhraseFilter
from retrieval.library.library import Hit
from serving.pipeline.encoded_request import EncodedRequest
from serving.pipeline.request import MotionRequest

SHORT_VERSION = 12
"""Hex digits of a library's version in reports."""


@dataclass(frozen=True)
class PhraseQuery:
    """What a motion needs phrases for.

    Attributes:
        query: embedded blocks that are known.
        text: the prompt itself, for rerankers that read; empty without one.
        text_encoder: name of the encoder that the query's text comes from.
        num_frames: length of the motion.
        beats: seconds within the song.
        has_start: whether the motion begins with a given one.
        filter: phrases that may be used.
        variety: 0 the best ones however alike, towards 1 ever more different ones.
    """

    query: Query
    text: str = ""
    text_encoder: str = ""
    num_frames: int = 0
    beats: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    has_start: bool = False
    filter: PhraseFilter = EVERYTHING
    variety: float = 0.0

    @classmethod
    def of(cls, request: MotionRequest, encoded: EncodedRequest) -> "PhraseQuery":
        """That of an encoded request."""
        return cls(
            query=encoded.query,
            text=request.text or "",
            text_encoder=encoded.text_encoder,
            num_frames=encoded.num_frames,
            beats=encoded.conditioning.beats,
            has_start=request.start is not None,
            filter=request.phrase_filter,
            variety=request.phrase_variety,
        )


@dataclass(frozen=True)
class UsedPhrase:
    """A phrase in a prior.

    Attributes:
        score, similarity: of the search (`retrieval.library.library.Hit`).
        weight: share of the prior's frames.
        source, start: recording, and seconds within it.
    """

    id: str
    score: float
    similarity: float
    weight: float
    source: str
    start: float
    genre: str
    caption: str
    licence: str


@dataclass(frozen=True)
class Prior:
    """Retrieved motion in the group's frame: features (num_frames, C), not normalised, and mask (num_frames,)."""

    features: NDArray[np.float32]
    mask: NDArray[np.float32]
    phrases: Sequence[UsedPhrase]


@dataclass(frozen=True)
class CacheStats:
    """Whether a prior had been made before, or for an equal request at the same time; and the bytes of the cache."""

    hit: bool
    bytes: int


@dataclass(frozen=True)
class RetrievalResult:
    """The outcome of the retrieval stage.

    Attributes:
        prior: None where motion is generated without one.
        reason: why there is none; empty with one.
        library: version of the library that was searched, or empty.
        cache: None where no prior was looked for.
    """

    prior: Prior | None
    reason: str = ""
    library: str = ""
    cache: CacheStats | None = None

    def document(self) -> dict[str, Any]:
        """The entry `prior` of a motion's metadata."""
        coverage = 0.0 if self.prior is None else round(float(self.prior.mask.mean()), 4)
        return {
            "used": self.prior is not None,
            "reason": self.reason or None,
            "library": self.library[:SHORT_VERSION] or None,
            "coverage": coverage,
        }

    def phrases(self) -> list[dict[str, Any]]:
        """The entry `phrases` of a motion's metadata."""
        return [] if self.prior is None else [asdict(phrase) for phrase in self.prior.phrases]


@dataclass(frozen=True)
class LibraryFacts:
    """Facts about the open phrase library.

    Attributes:
        version: hash of its content.
        licences: number of phrases by licence tag.
        index: kind of index.
        place: where it is searched, "cpu" or a GPU.
    """

    version: str
    phrases: int
    seconds: float
    licences: dict[str, int]
    text_encoder: str
    index: str
    place: str


@dataclass(frozen=True)
class SearchResult:
    """Phrases that were searched for, best first; `reason` says why there are none."""

    hits: Sequence[Hit]
    library: LibraryFacts | None
    reason: str = ""
