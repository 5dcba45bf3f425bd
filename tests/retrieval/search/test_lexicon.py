import numpy as np
import pytest

from retrieval.library.phrases import STATS
from retrieval.search.lexicon import stems, wanted_motion


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("She spins", "a man turning"),
        ("hopping", "leaps"),
        ("quickly!", "fast"),
        ("Kicked", "kicks"),
        ("dipped", "dips"),
    ],
)
def test_forms_and_synonyms_are_one_stem(one: str, other: str) -> None:
    assert stems(one) == stems(other) != frozenset()


@pytest.mark.parametrize("text", ["", "...", "a person is doing it", "123"])
def test_words_that_say_nothing_ask_for_nothing(text: str) -> None:
    assert stems(text) == frozenset()
    assert not wanted_motion(stems(text)).any()


@pytest.mark.parametrize(
    ("text", "name", "sign"),
    [("fast", "speed", 1), ("slowly", "speed", -1), ("pirouette", "turning", 1), ("on the spot", "travel", -1),
     ("crouching", "crouch", -1), ("arms held high", "arm_height", 1), ("jumps", "bounce", 1)],
)  # fmt: skip
def test_words_ask_for_motion(text: str, name: str, sign: int) -> None:
    wanted = wanted_motion(stems(text))
    assert np.linalg.norm(wanted) == pytest.approx(1)
    assert np.sign(wanted[STATS.index(name)]) == sign


def test_opposites_cancel() -> None:
    assert not wanted_motion(stems("fast and slow")).any()
