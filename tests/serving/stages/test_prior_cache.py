"""The cache of priors: bounded, read-only, and never the answer to another question."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.library.embedding import Music, Query
from retrieval.library.filters import PhraseFilter
from retrieval.search.finder import PhraseRequest
from serving.pipeline.phrases import Prior, RetrievalResult
from serving.stages.prior_cache import OVERHEAD_BYTES, PriorCache, prior_key, size_of


class FakeLibrary:
    version = "abc"


class FakeFinder:
    """All that a key wants of a finder."""

    def __init__(self) -> None:
        self.library = FakeLibrary()


def retrieved(frames: int, value: float = 0.0) -> RetrievalResult:
    return RetrievalResult(Prior(np.full((frames, 66), value, np.float32), np.ones(frames, np.float32), []), "", "abc")


@given(
    st.integers(0, 60_000),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 100), st.booleans()), max_size=40),
)
def test_it_is_what_a_map_with_a_bound_would_be(limit: int, steps: list[tuple[int, int, bool]]) -> None:
    """Against the plainest model: an ordered list of (key, size), cut from the old end."""
    cache, model = PriorCache(limit), dict[bytes, int]()
    for number, frames, write in steps:
        key = bytes([number])
        if write:
            value = cache.put(key, retrieved(frames, number))
            model.pop(key, None)
            if size_of(value) <= limit:
                model[key] = size_of(value)
            while sum(model.values()) > limit:
                del model[next(iter(model))]
        else:
            found = cache.get(key)
            assert (found is not None) == (key in model)
            if found is not None:
                assert found.prior is not None
                assert (found.prior.features == number).all()
                model[key] = model.pop(key)
        assert (cache.held_bytes, len(cache)) == (sum(model.values()), len(model))
        assert cache.held_bytes <= limit


def test_sizes_are_of_the_arrays() -> None:
    assert size_of(retrieved(100)) == 100 * 67 * 4 + OVERHEAD_BYTES
    assert size_of(RetrievalResult(None, "nothing")) == OVERHEAD_BYTES


def test_nobody_can_write_to_an_entry_not_even_through_what_was_put_in() -> None:
    whole = np.zeros((200, 66), np.float32)
    mask = np.ones(100, np.float32)
    cache = PriorCache(1 << 20)
    kept = cache.put(b"a", RetrievalResult(Prior(whole[:100], mask, []), "", "abc"))
    whole[:] = 7
    for value in (kept, cache.get(b"a")):
        assert value is not None
        assert value.prior is not None
        assert not value.prior.features.any()
        assert isinstance(value.prior.phrases, tuple)
        for array in (value.prior.features, value.prior.mask):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1


WISH = PhraseRequest(Query(text=np.ones(3, np.float32), music=Music(120.0, 0.5)), "a waltz")
BEATS = np.arange(4) / 2


def key(wish: PhraseRequest = WISH, num_frames: int = 196, beats: Any = BEATS, version: str = "abc") -> bytes:
    finder: Any = FakeFinder()
    finder.library.version = version
    return prior_key(finder, wish, num_frames, beats)


def test_everything_that_matters_is_in_the_key() -> None:
    music = Music(120.0, 0.5)
    others = [
        key(version="abd"),
        key(num_frames=197),
        key(beats=BEATS + 0.01),
        key(beats=BEATS[:3]),
        key(replace(WISH, text="a Waltz")),
        key(replace(WISH, top_n=4)),
        key(replace(WISH, variety=0.1)),
        key(replace(WISH, filter=PhraseFilter(genres=frozenset({"abc"})))),
        key(replace(WISH, filter=PhraseFilter(licences=frozenset({"abc"})))),
        key(replace(WISH, filter=PhraseFilter(genres=frozenset({"a", "bc"})))),
        key(replace(WISH, filter=PhraseFilter(min_tempo=90.0))),
        key(replace(WISH, filter=PhraseFilter(max_tempo=90.0))),
        key(replace(WISH, query=Query(text=np.ones(3, np.float32) * 2, music=music))),
        key(replace(WISH, query=Query(text=np.ones(4, np.float32), music=music))),
        key(replace(WISH, query=Query(music=music))),
        key(replace(WISH, query=Query(text=WISH.query.text))),
        key(replace(WISH, query=replace(WISH.query, stats=[1.0, 2.0]))),
        *(
            key(replace(WISH, query=replace(WISH.query, music=other)))
            for other in (
                Music(121.0, 0.5), Music(120.0), Music(120.0, 0.5, summary=(0.5,)),
                Music(120.0, 0.5, summary=(0.5, 0.5)),
            )
        ),
    ]  # fmt: skip
    assert len({key(), *others}) == len(others) + 1


@given(st.sets(st.text(max_size=5), max_size=5))
def test_equal_questions_have_equal_keys(genres: set[str]) -> None:
    one = replace(WISH, filter=PhraseFilter(genres=frozenset(genres)))
    other = PhraseRequest(
        Query(text=np.array([1, 1, 1], np.float32), music=Music(np.float64(120.0), 0.5)),
        "a waltz",
        filter=PhraseFilter(genres=frozenset(sorted(genres, reverse=True))),
    )
    assert key(one) == key(other, beats=np.array([0, 0.5, 1, 1.5]))
