"""The retrieval stage: phrases that fit song and prompt, made into a motion prior."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact
from choreo.generators.spec import GeneratorSpec
from choreo.motion.skeleton import FPS
from retrieval.library.library import Hit, PhraseLibrary
from retrieval.prior.prior import PRIOR_PHRASES, build_prior
from retrieval.search.finder import PhraseFinder, PhraseRequest
from serving.pipeline.phrases import (
    CacheStats,
    LibraryFacts,
    PhraseQuery,
    Prior,
    RetrievalResult,
    SearchResult,
    UsedPhrase,
)
from serving.stages.library_facts import facts
from serving.stages.library_watch import LibraryWatch
from serving.stages.prior_cache import PriorCache, prior_key
from serving.stages.search_batches import FindBatches
from serving.util.single_flight import SingleFlight
from serving.util.threads import Threads

BUILDERS = 2
"""Priors that are built at a time."""

SILENT = "neither prompt nor song says what to look for"
FILTERED = "no phrase passes the filter"
HAS_START = "the motion begins with a given one, which the phrases do not know"


class Retriever:
    """Finds phrases and builds priors on one event loop; all that takes time is done in threads.

    Args:
        folder: of the library.
        cache_bytes: see `PriorCache`.
        poll_s: time between looks for a newer library; None: look once.
        cross_encoder: see `Settings.cross_encoder`.
    """

    def __init__(
        self, folder: Path, cache_bytes: int = 0, poll_s: float | None = None, cross_encoder: str = ""
    ) -> None:
        self._watch = LibraryWatch(folder, cross_encoder=cross_encoder)
        self._poll_s = poll_s
        self._cache = PriorCache(cache_bytes)
        self._flights: SingleFlight[RetrievalResult] = SingleFlight()
        self._batches = FindBatches()
        self._threads = Threads(BUILDERS)
        self._opening = asyncio.Lock()
        self._opened = False

    async def open(self, encoder: tuple[str, int] | None = None) -> None:
        """Open the library, if there is one, and begin to look for newer ones.

        Args:
            encoder: name and dimension of the text encoder; libraries of others are refused from now on.
        """
        if encoder is not None:
            self._watch.expect(encoder)
        async with self._opening:
            if not self._opened:
                await self._threads.run(self._watch.look)
                self._opened = True
        if self._poll_s is not None:
            self._watch.start(self._poll_s)

    async def require(self, encoder: tuple[str, int] | None = None) -> None:
        """Open a library that somebody asked for by name; see `LibraryWatch.require`.

        Raises:
            InvalidInput: there is none, or it cannot be used.
        """
        await self._threads.run(self._watch.require, encoder)
        self._opened = True

    async def retrieve(self, query: PhraseQuery) -> RetrievalResult:
        """Prior of the whole motion, or why there is none.

        A request with a starting motion goes without: the start fixes pose and heading, which the phrases do not know.

        Raises:
            InvalidArtifact: the library made a prior of NaN or infinity.
        """
        await self.open()
        finder = self._watch.finder
        if finder is None:
            return RetrievalResult(None, self._watch.reason)
        if reason := HAS_START if query.has_start else _misfit(finder.library, query):
            return RetrievalResult(None, reason, finder.library.version)
        request = _request(query, PRIOR_PHRASES)
        beats = query.beats[query.beats < query.num_frames / FPS]
        key = prior_key(finder, request, query.num_frames, beats)
        known = self._cache.get(key)
        made_here = False

        async def make() -> RetrievalResult:
            nonlocal made_here
            made_here = True
            return self._cache.put(key, await self._made(finder, request, query.num_frames, beats))

        retrieved = await self._flights.do(key, make) if known is None else known
        return replace(retrieved, cache=CacheStats(not made_here, self._cache.held_bytes))

    async def search(self, query: PhraseQuery, top_n: int) -> SearchResult:
        """The phrases that `retrieve` would choose from, and those after them.

        Raises:
            InvalidArtifact: the library was built with another text encoder.
        """
        await self.open()
        finder = self._watch.finder
        if finder is None:
            return SearchResult([], None, self._watch.reason)
        if reason := _misfit(finder.library, query):
            raise InvalidArtifact(reason)
        request = _request(query, top_n)
        hits = await self._batches.find(finder, request)
        reason = "" if hits else await self._threads.run(_why_nothing, finder.library, request)
        return SearchResult(hits, facts(finder.library), reason)

    async def library(self) -> LibraryFacts | None:
        """What is known of the open library."""
        await self.open()
        return None if self._watch.finder is None else facts(self._watch.finder.library)

    async def warm_up(self, spec: GeneratorSpec) -> None:
        """Open the library for queries from a generator's text encoder."""
        await self.open((spec.text_encoder, spec.text_dim))

    def close(self) -> None:
        """Stop looking for libraries, and fail what waits."""
        self._watch.stop()
        self._batches.close()
        self._threads.close()

    async def _made(
        self, finder: PhraseFinder, request: PhraseRequest, num_frames: int, beats: NDArray[np.float64]
    ) -> RetrievalResult:
        library = finder.library
        hits = await self._batches.find(finder, request)
        if not hits:
            return RetrievalResult(None, await self._threads.run(_why_nothing, library, request), library.version)
        return RetrievalResult(await self._threads.run(_built, library, hits, num_frames, beats), "", library.version)


def _request(query: PhraseQuery, top_n: int) -> PhraseRequest:
    return PhraseRequest(query.query, query.text, filter=query.filter, top_n=top_n, variety=query.variety)


def _misfit(library: PhraseLibrary, query: PhraseQuery) -> str:
    """Why the prompt's vector means nothing to the library, or nothing."""
    if query.query.text is None:
        return ""
    try:
        library.embedder.require(query.text_encoder, len(query.query.text))
    except InvalidArtifact as error:
        return str(error)
    return ""


def _why_nothing(library: PhraseLibrary, request: PhraseRequest) -> str:
    if not library.embedder.queries([request.query]).any():
        return SILENT
    return "nothing in the phrase library answers" if request.filter.allows_everything else FILTERED


def _built(library: PhraseLibrary, hits: Sequence[Hit], num_frames: int, beats: NDArray[np.float64]) -> Prior:
    built = build_prior(library, hits, num_frames, beats, FPS)
    if not np.isfinite(built.features).all():
        raise InvalidArtifact("the phrase library made a prior that is not finite; rebuild it")
    by_id = {hit.phrase.id: hit for hit in reversed(hits)}
    return Prior(built.features, built.mask, [_used(by_id[str(use["id"])], use["weight"]) for use in built.phrases])


def _used(hit: Hit, weight: float) -> UsedPhrase:
    phrase = hit.phrase
    return UsedPhrase(
        id=phrase.id,
        score=round(hit.score, 4),
        similarity=round(hit.similarity, 4),
        weight=weight,
        source=phrase.source,
        start=phrase.start,
        genre=phrase.genre,
        caption=phrase.caption,
        licence=phrase.licence,
    )
