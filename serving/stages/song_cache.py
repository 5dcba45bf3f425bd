"""Encoded songs, kept within a number of bytes; equal songs that arrive at the same time are encoded once."""

import threading
from collections.abc import Callable
from concurrent.futures import Future

from choreo.music.encoded import MusicFeatures
from retrieval.library.embedding import Music
from serving.util.bounded_cache import BoundedCache

EncodedSong = tuple[MusicFeatures, Music]
"""A song for the networks, and for the phrase library."""
SongKey = tuple[str, str, bytes]
"""Names of the encoder and of the beat tracker, and sha256 of the undecoded song."""

OVERHEAD_BYTES = 1024
"""What an entry takes in addition to its arrays."""


class SongCache:
    """Safe from many threads.

    Args:
        max_bytes: bound of all entries; a song that alone is larger is not kept.

    Attributes:
        hits, misses: songs that were kept or being encoded when they were asked for, and the others.
    """

    def __init__(self, max_bytes: int) -> None:
        self._cache: BoundedCache[SongKey, EncodedSong] = BoundedCache(max_bytes, size_of)
        self._lock = threading.Lock()
        self._pending: dict[SongKey, Future[EncodedSong]] = {}
        self.hits, self.misses = 0, 0

    @property
    def held_bytes(self) -> int:
        """Memory that the entries take."""
        return self._cache.held_bytes

    def get(self, key: SongKey, encode: Callable[[], EncodedSong]) -> EncodedSong:
        """The song of this key; `encode` is called unless it is kept or another thread is encoding it.

        Blocking. What `encode` raises is raised in every thread that waits for it; nothing is kept then.
        """
        with self._lock:
            if (known := self._cache.get(key)) is not None:
                self.hits += 1
                return known
            pending = self._pending.get(key)
            if pending is None:
                self.misses += 1
                mine = self._pending[key] = Future[EncodedSong]()
            else:
                self.hits += 1
        if pending is not None:
            return pending.result()
        try:
            song = encode()
        except BaseException as error:
            self._settle(key)
            mine.set_exception(error)
            raise
        self._settle(key, song)
        mine.set_result(song)
        return song

    def _settle(self, key: SongKey, song: EncodedSong | None = None) -> None:
        """Stop others from waiting for a song; keep it in the same moment, so that it is not encoded twice."""
        with self._lock:
            del self._pending[key]
            if song is not None:
                self._cache.put(key, song)


def size_of(song: EncodedSong) -> int:
    """Bytes that an entry is counted as."""
    return OVERHEAD_BYTES + song[0].nbytes
