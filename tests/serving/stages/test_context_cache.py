import numpy as np

from serving.stages.context_cache import ContextCache

ROW = {"context": np.ones((50, 4), np.float32)}
SIZE = ROW["context"].nbytes


def test_rows_longest_unused_make_room() -> None:
    cache = ContextCache(2 * SIZE)
    cache.put(b"a", ROW)
    cache.put(b"b", ROW)
    assert cache.get(b"a") is ROW
    cache.put(b"c", ROW)
    assert [cache.get(key) is not None for key in (b"a", b"b", b"c")] == [True, False, True]


def test_without_memory_nothing_is_kept() -> None:
    cache = ContextCache(0)
    cache.put(b"a", ROW)
    assert cache.get(b"a") is None


def test_rows_of_another_revision_are_not_taken_and_share_the_memory() -> None:
    cache = ContextCache(2 * SIZE)
    first, second = cache.revision(1), cache.revision(2)
    first.put(b"a", ROW)
    assert cache.revision(1).get(b"a") is ROW
    assert second.get(b"a") is None
    second.put(b"a", ROW)
    second.put(b"b", ROW)
    assert first.get(b"a") is None
    assert second.get(b"a") is ROW
