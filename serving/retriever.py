"""The retrieval stage: phrases that fit song and prompt, made into a motion prior."""

import logging
from pathlib import Path

import numpy as np

from choreo.errors import InvalidArtifact
from choreo.motion.skeleton import FPS
from retrieval.embedding import Music, Query
from retrieval.library import PhraseLibrary
from retrieval.prior import build_prior
from serving.request import Job
from serving.stages import Conditioning, Prior

log = logging.getLogger(__name__)
CANDIDATES = 3
"""Phrases that a prior is chained from."""


class Retriever:
    """One open phrase library; safe from many threads."""

    def __init__(self, library: Path | None) -> None:
        self._library = PhraseLibrary.open(library) if library is not None and library.exists() else None
        if self._library is None:
            log.warning("no phrase library at %s; motion is generated without a prior", library)

    def retrieve(self, job: Job, conditioning: Conditioning) -> Prior | None:
        """Prior of the whole motion, or None when there is no library or nothing in it fits.

        A request with a starting motion goes without: the start fixes pose and heading, which the phrases do not know.

        Raises:
            InvalidArtifact: the library does not fit the encoders in use.
        """
        if self._library is None or job.start is not None:
            return None
        beats = conditioning.beats[conditioning.beats < conditioning.num_frames / FPS]
        music = Music(conditioning.tempo) if conditioning.tempo else None
        if conditioning.text is None and music is None:
            return None
        hits = self._library.search(Query(text=conditioning.text, music=music), CANDIDATES)
        if not hits:
            return None
        built = build_prior(self._library, hits, conditioning.num_frames, beats, FPS)
        if not np.isfinite(built.features).all():
            raise InvalidArtifact("the phrase library made a prior that is not finite; rebuild it")
        return Prior(built.features, built.mask, built.phrases)
