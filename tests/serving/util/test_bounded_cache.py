from hypothesis import given
from hypothesis import strategies as st

from serving.util.bounded_cache import BoundedCache


@given(st.integers(0, 60), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40), st.booleans()), max_size=40))
def test_it_is_what_a_map_with_a_bound_would_be(limit: int, steps: list[tuple[int, int, bool]]) -> None:
    """Against the plainest model: an ordered list of values that are their own size, cut from the old end."""
    cache: BoundedCache[int, int] = BoundedCache(limit, lambda value: value)
    model: dict[int, int] = {}
    for key, value, write in steps:
        if write:
            cache.put(key, value)
            model.pop(key, None)
            if value <= limit:
                model[key] = value
            while sum(model.values()) > limit:
                del model[next(iter(model))]
        else:
            found = cache.get(key)
            assert found == model.get(key)
            if key in model:
                model[key] = model.pop(key)
        assert (cache.held_bytes, len(cache)) == (sum(model.values()), len(model))
        assert cache.held_bytes <= limit
