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
    left = {part: set(keys) & set(some) for part, keys in whole.parts.items()}
    if all(left.values()):
        assert {part: set(keys) for part, keys in hashed_split(some).parts.items()} == left


@pytest.mark.parametrize("number", range(2, 31))
def test_a_handful_of_takes_leaves_no_side_empty(number: int) -> None:
    for seed in range(200):
        groups = {f"take{i}{mirrored}": f"take{i}" for i in range(number) for mirrored in ("", "M")}
        split = hashed_split(groups, seed=seed)
        assert split.origin == "hash"
        assert not shared_groups(split, groups)
        assert sorted(key for keys in split.parts.values() for key in keys) == sorted(groups)
        assert all(split.parts[part] for part in ("train", "val", "test")[:number])


def test_filling_a_part_does_not_depend_on_the_order_of_the_recordings() -> None:
    groups = {f"take{i}": f"take{i}" for i in range(4)}
    backwards = dict(reversed(groups.items()))
    for seed in range(50):
        one, other = hashed_split(groups, seed=seed), hashed_split(backwards, seed=seed)
        assert {part: set(keys) for part, keys in one.parts.items()} == {
            part: set(keys) for part, keys in other.parts.items()
        }


def test_one_group_is_cut_and_shares_no_frame() -> None:
    groups = {"a": "a", "Ma": "a"}
    split = hashed_split(groups)
    assert split.cut
    assert split.parts == {"train": ("a", "Ma"), "val": ("a", "Ma"), "test": ()}
    assert not shared_groups(split, groups)


def test_an_excerpt_of_a_published_split_is_divided_anew_without_its_test_part() -> None:
    groups = {name: name for name in "abcdxy"}
    parts = {"train": tuple("abcd"), "val": ("not here",), "test": ("x",)}
    split = published_split(parts, groups)
    assert split.origin == "hash"
    assert sorted(split.parts["train"] + split.parts["val"]) == list("abcd")
    assert split.parts["val"]
    assert split.parts["test"] == ("x",)
    whole = published_split({"train": ("a",), "val": ("b",), "test": ()}, groups)
    assert whole.origin == "published"


def test_seeds_give_other_splits() -> None:
    assert hashed_split(GROUPS).parts != hashed_split(GROUPS, seed=1).parts


def test_nothing_to_divide_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no recording to divide"):
        hashed_split({})
    with pytest.raises(InvalidInput, match="lists no recording of this folder for train or val"):
        published_split({"train": ("not here",), "val": (), "test": ("a",)}, {"a": "a"})


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
