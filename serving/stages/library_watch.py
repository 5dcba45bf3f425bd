"""The phrase library that is in use, and the one that may take its place while requests are served."""

import asyncio
import logging
import os
import threading
from pathlib import Path

from choreo.errors import ChoreoError, InvalidInput, MissingDependency
from retrieval.library.library import PhraseLibrary
from retrieval.library.manifest import NAME, Manifest
from retrieval.search.cross_encoder import CrossEncoderReranker
from retrieval.search.finder import PhraseFinder
from retrieval.search.rerank import FeatureReranker
from serving.util.threads import Threads

log = logging.getLogger(__name__)

MISSING = "there is no phrase library"
BROKEN = "the phrase library cannot be used"

_Signature = tuple[tuple[str, int, int, int], ...]


class LibraryWatch:
    """Keeps the newest whole library of a folder open; what is broken or gone changes nothing.

    `finder` is one reference: a caller keeps the library that it took, however often it is replaced.

    Args:
        folder: where libraries are put, each in place of the one before.
        encoder: name and dimension of the text encoder that queries come from; None: not known yet.
        cross_encoder: see `Settings.cross_encoder`.
    """

    def __init__(self, folder: Path, encoder: tuple[str, int] | None = None, cross_encoder: str = "") -> None:
        self._folder = folder
        self._cross_encoder = cross_encoder
        self._encoder = encoder
        self._lock = threading.Lock()
        self._seen: _Signature | None = None
        self._looked = False
        self._threads = Threads(1)
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self.finder: PhraseFinder | None = None
        self.reason = MISSING
        """Why there is no finder, for callers."""
        self.problem = ""
        """What is wrong with the folder as it was seen last, for operators; empty: nothing."""

    def expect(self, encoder: tuple[str, int]) -> None:
        """Refuse libraries of other text encoders from now on."""
        self._encoder = encoder

    def require(self, encoder: tuple[str, int] | None = None) -> None:
        """Open a library that somebody asked for by name. Blocking.

        Args:
            encoder: name and dimension of the text encoder that it must have been built with, where that is known.
        Raises:
            InvalidInput: there is none, or it cannot be used.
        """
        with self._lock:
            try:
                if self.finder is None:
                    signature = _signature(self._folder)
                    self.finder = _finder(PhraseLibrary.open(self._folder), self._cross_encoder)
                    self._looked, self._seen, self.reason = True, signature, ""
                if encoder is not None:
                    self.finder.library.embedder.require(*encoder)
            except (ChoreoError, OSError) as error:
                raise InvalidInput("phrases", str(error)) from error

    def look(self) -> None:
        """Open what is in the folder, if that has changed. Blocking, and silent about what it has said before."""
        with self._lock:
            signature = _signature(self._folder)
            if self._looked and signature == self._seen:
                return
            self._looked, self._seen = True, signature
            try:
                self._take(signature)
            except Exception as error:  # whatever a file from outside provokes must not end the one in use
                self.problem = str(error) or type(error).__name__
                kept = self.finder is not None
                self.reason = BROKEN
                now = "the one in use is kept" if kept else "motion is generated without a prior"
                expected = isinstance(error, ChoreoError | OSError)
                log.warning("phrase library not opened, %s: %s", now, self.problem, exc_info=not expected)

    def start(self, poll_s: float) -> None:
        """Look every `poll_s` seconds, in a thread next to the running event loop, until `stop`."""
        if not self._stopped and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._watch(poll_s))

    def stop(self) -> None:
        """Look no more; the library stays open for those who use it."""
        self._stopped = True
        if self._task is not None and not self._task.get_loop().is_closed():
            self._task.cancel()
        self._threads.close()

    async def _watch(self, poll_s: float) -> None:
        while True:
            await asyncio.sleep(poll_s)
            await self._threads.run(self.look)

    def _take(self, signature: _Signature | None) -> None:
        if signature is None:
            self.problem = f"there is no phrase library at {self._folder}"
            self.reason = MISSING
            now = "motion is generated without a prior" if self.finder is None else "the open one stays in use"
            log.warning("%s; %s", self.problem, now)
            return
        if self.finder is None or Manifest.read(self._folder).content != self.finder.library.version:
            finder = _finder(PhraseLibrary.open(self._folder, self._encoder), self._cross_encoder)
            if self.finder is not None:
                log.warning("phrase library %.12s takes the place of %.12s", finder.library.version, self._version)
            self.finder = finder
        self.problem = self.reason = ""

    @property
    def _version(self) -> str:
        return "" if self.finder is None else self.finder.library.version


def _finder(library: PhraseLibrary, cross_encoder: str) -> PhraseFinder:
    """A finder with the cross-encoder that is named, or the embedded reranker where that is not to be had."""
    if not cross_encoder:
        return PhraseFinder(library)
    reranker = CrossEncoderReranker(FeatureReranker(library.embedder), cross_encoder)
    try:
        reranker.load()
    except MissingDependency as error:
        log.warning("phrases are reranked by the embedded scorer: %s", error)
        return PhraseFinder(library)
    return PhraseFinder(library, reranker=reranker)


def _signature(folder: Path) -> _Signature | None:
    """Names, numbers, sizes and times of the files in the folder; None where there is no manifest."""
    try:
        with os.scandir(folder) as files:
            stats = [(file.name, file.stat()) for file in files]
    except OSError:
        return None
    if NAME not in (name for name, _ in stats):
        return None
    return tuple(sorted((name, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in stats))
