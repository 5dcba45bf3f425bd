import numpy as np

from serving.stages.context_cache import ContextCache, row_key

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


def test_a_key_is_of_one_row_and_of_its_model() -> None:
    inputs = {"text": np.array([[1.0], [1.0], [2.0]], np.float32), "has_text": np.ones((3, 1), np.float32)}
    keys = [row_key(inputs, row, "one") for row in range(3)]
    assert keys[0] == keys[1] != keys[2]
    assert row_key(inputs, 0, "two") != keys[0]
