import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.data.analysis.motion_words import DANCES, MOVEMENTS, commonest, is_dance, motions_in, other_words


@pytest.mark.parametrize(
    ("text", "motions"),
    [
        ("a person walks forward, then is jogging", {"walk", "run"}),
        ("someone ran, sat down and threw a ball", {"run", "sit", "throw"}),
        ("She is Waltzing; he SPINS!", {"waltz", "spin"}),
        ("a man stepping and hopping in a hurry", {"step", "jump"}),
        ("a tap dancer", {"tap dance"}),
        ("tapdancing, back flips and two cart-wheels", {"tap dance", "backflip", "cartwheel"}),
        ("hip-hop", {"hip hop"}),
        ("Cha cha cha", {"cha-cha"}),
        ("the box is black", set()),
        ("", set()),
    ],
)
def test_motions_are_found_in_every_form(text: str, motions: set[str]) -> None:
    assert motions_in(text) == motions


def test_words_without_a_motion_are_kept_apart() -> None:
    assert other_words("a person juggles while walking to the left") == {"juggles"}


def test_dances_are_told_from_movements() -> None:
    assert is_dance(["walk", "rumba"])
    assert not is_dance(["walk", "cartwheel"])
    assert not is_dance([])
    assert not set(DANCES) & set(MOVEMENTS)


def test_equal_counts_are_in_order_of_their_names() -> None:
    assert commonest({"b": 2, "c": 5, "a": 2, "d": 1}, 3) == [("c", 5), ("a", 2), ("b", 2)]


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    assert motions_in(text) <= set(DANCES) | set(MOVEMENTS)
    assert all(word.isascii() and word.islower() for word in other_words(text))
