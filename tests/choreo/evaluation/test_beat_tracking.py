"""Agreement of heard and known beats."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.evaluation.beat_tracking import beat_f_measure, is_tempo_right

KNOWN = np.arange(0, 10, 0.5)


def test_known_cases() -> None:
    assert beat_f_measure(KNOWN, KNOWN + 0.05) == 1
    assert beat_f_measure(KNOWN, KNOWN + 0.1) == 0
    assert beat_f_measure(KNOWN, KNOWN[::2]) == pytest.approx(2 / 3)  # half tempo
    assert beat_f_measure(KNOWN, np.arange(0, 10, 0.25)) == pytest.approx(2 / 3)  # double tempo
    assert beat_f_measure(KNOWN, []) == beat_f_measure([], KNOWN) == 0
    assert beat_f_measure([], []) == 1
    assert beat_f_measure([1.0], [0.95, 1.05]) == pytest.approx(2 / 3)  # one of two is too many


@given(st.lists(st.floats(0, 30), max_size=30), st.lists(st.floats(0, 30), max_size=30))
def test_it_is_symmetric_and_bounded(known: list[float], heard: list[float]) -> None:
    value = beat_f_measure(known, heard)
    assert 0 <= value <= 1
    assert value == pytest.approx(beat_f_measure(heard, known))


def test_tempo() -> None:
    assert is_tempo_right(100, 103.9)
    assert not is_tempo_right(100, 105)
    assert not is_tempo_right(100, 50)
