import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.data.splits.split import Split, hashed_split, published_split, shared_groups
from choreo.errors import InvalidInput

GROUPS = {f"song{n}_take{t}": f"song{n}" for n in range(200) for t in range(3)}


def test_every_recording_is_in_one_part_with_its_group() -> None:
    split = hashed_split(GROUPS)
    assert sorted(key for keys in split.parts.values() for key in keys) == sorted(GROUPS)
    assert not shared_groups(split, GROUPS)
    shares = {part: len(keys) / len(GROUPS) for part, keys in split.parts.items()}
    assert shares["train"] == pytest.approx(0.8, abs=0.08)
    assert shares["val"] == pytest.approx(0.1, abs=0.06)


@given(st.sets(st.integers(0, 199), min_size=1))
def test_a_group_stays_in_its_part_when_others_are_removed(kept: set[int]) -> None:
    whole = hashed_split(GROUPS)
    some = {key: group for key, group in GROUPS.items() if int(group[4:]) in kept}
    try:
        split = hashed_split(some)
    except InvalidInput:
        return
    assert all(set(keys) == set(whole.parts[part]) & set(some) for part, keys in split.parts.items())


def test_seeds_give_other_splits() -> None:
    assert hashed_split(GROUPS).parts != hashed_split(GROUPS, seed=1).parts


def test_an_empty_part_is_refused() -> None:
    with pytest.raises(InvalidInput, match="is empty"):
        hashed_split({"a": "a"})
    with pytest.raises(InvalidInput, match="is empty"):
        hashed_split({})
    with pytest.raises(InvalidInput, match="is empty"):
        published_split({"train": ("a",), "val": ("not here",)}, {"a": "a"})


@pytest.mark.parametrize("shares", [{}, {"train": 0.0}, {"train": -1.0}, {"train": float("nan")}])
def test_odd_shares_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="positive"):
        hashed_split(GROUPS, shares)


def test_a_published_split_may_not_name_a_recording_twice() -> None:
    with pytest.raises(InvalidInput, match="a is listed for train and for val"):
        published_split({"train": ("a", "b"), "val": ("a",)}, {"a": "a", "b": "b"})


def test_groups_in_two_parts_are_found() -> None:
    split = Split({"train": ("a1", "b"), "val": ("a2",)}, "published")
    assert shared_groups(split, {"a1": "a", "a2": "a", "b": "b"}) == {"a": ("train", "val")}
