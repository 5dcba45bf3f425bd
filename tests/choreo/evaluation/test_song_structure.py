"""Agreement of sections."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.evaluation.song_structure import boundary_f_measure, label_agreement

TIMES = st.lists(st.floats(0, 100), max_size=12, unique=True)


def test_boundaries() -> None:
    assert boundary_f_measure([], []) == 1
    assert boundary_f_measure([8.0], []) == boundary_f_measure([], [8.0]) == 0
    assert boundary_f_measure([8.0, 16.0], [8.4, 15.6]) == 1
    assert boundary_f_measure([8.0, 16.0], [8.0]) == pytest.approx(2 / 3)
    assert boundary_f_measure([8.0], [7.9, 8.1]) == pytest.approx(2 / 3)  # one boundary is found once
    assert boundary_f_measure([8.0], [8.6]) == 0


@given(known=TIMES, found=TIMES)
def test_boundaries_agree_with_themselves_and_whoever_is_asked(known: list[float], found: list[float]) -> None:
    assert boundary_f_measure(known, known) == 1
    assert boundary_f_measure(known, found) == boundary_f_measure(found, known)


def test_labels() -> None:
    song = (np.array([0.0, 8, 16, 24]), "ABA")
    assert label_agreement(song, song, 24) == 1
    assert label_agreement(song, (song[0], "XYX"), 24) == 1
    # Pairs of one label: 160 * 159 / 2 + 80 * 79 / 2 moments known, 240 * 239 / 2 found, all of the former in both.
    known = 160 * 159 / 2 + 80 * 79 / 2
    assert label_agreement(song, (np.array([0.0, 24]), "A"), 24) == pytest.approx(2 * known / (known + 240 * 239 / 2))
    assert label_agreement(song, (song[0], "ABC"), 24) < 0.8
