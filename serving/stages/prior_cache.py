"""Priors that may be asked for again: a bounded cache, and the keys of what is in it."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrieval.search.finder import PhraseFinder, PhraseRequest
from serving.pipeline.phrases import Prior, RetrievalResult
from serving.util.bounded_cache import BoundedCache

OVERHEAD_BYTES = 2048
"""What an entry takes in addition to its arrays: key, objects and words of a few phrases."""


class PriorCache:
    """Priors by request, as read-only arrays within a number of bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._cache: BoundedCache[bytes, RetrievalResult] = BoundedCache(max_bytes, size_of)

    def __len__(self) -> int:
        return len(self._cache)

    @property
    def held_bytes(self) -> int:
        """Memory that the entries take."""
        return self._cache.held_bytes

    def get(self, key: bytes) -> RetrievalResult | None:
        """The entry, whose arrays are read-only."""
        return self._cache.get(key)

    def put(self, key: bytes, value: RetrievalResult) -> RetrievalResult:
        """Keep a value whose arrays become read-only, and return it."""
        value = _frozen(value)
        self._cache.put(key, value)
        return value


def size_of(value: RetrievalResult) -> int:
    """Bytes that an entry is counted as."""
    if value.prior is None:
        return OVERHEAD_BYTES
    return OVERHEAD_BYTES + value.prior.features.nbytes + value.prior.mask.nbytes


def prior_key(finder: PhraseFinder, request: PhraseRequest, num_frames: int, beats: NDArray[np.float64]) -> bytes:
    """Hash of everything that a prior depends on; the code itself does not change while a process lives."""
    query, chosen = request.query, request.filter
    music = None if query.music is None else {name: _plain(value) for name, value in asdict(query.music).items()}
    parts = (
        finder.library.version,
        _plain(query.text),
        music,
        _plain(query.stats),
        request.text,
        sorted(chosen.genres),
        sorted(chosen.licences),
        chosen.min_tempo,
        chosen.max_tempo,
        request.top_n,
        request.variety,
        num_frames,
        _plain(beats),
    )
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()


def _plain(value: ArrayLike | None) -> Any:
    """The value in a form whose text tells any two different ones apart."""
    if value is None:
        return None
    array = np.asarray(value)
    return float(array) if array.ndim == 0 else (array.dtype.str, array.shape, array.tobytes())


def _frozen(value: RetrievalResult) -> RetrievalResult:
    if value.prior is None:
        return value
    prior = value.prior
    phrases: Sequence[Any] = tuple(prior.phrases)
    return replace(value, prior=Prior(_read_only(prior.features), _read_only(prior.mask), phrases))


def _read_only(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """An array that owns its memory and cannot be written to."""
    own = array if array.base is None and array.flags.c_contiguous else np.array(array)
    own.setflags(write=False)
    return own
