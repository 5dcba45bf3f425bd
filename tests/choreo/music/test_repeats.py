"""Frames that repeat earlier ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.music.repeats import repeated_frames
from choreo.music.structure import Section


def test_a_section_repeats_the_first_of_its_label_from_bar_to_bar() -> None:
    sections = [
        Section("A", np.array([0.0, 2, 4])),
        Section("B", np.array([4.0, 6])),
        Section("A", np.array([6.0, 8, 10, 12])),  # longer by a bar, which is new
        Section("B", np.array([12.0, 14])),
    ]
    places = repeated_frames(sections, 14 * 30)
    assert places is not None
    frames = np.arange(14 * 30)
    np.testing.assert_array_equal(places[: 6 * 30], frames[: 6 * 30])
    np.testing.assert_array_equal(places[6 * 30 : 10 * 30], frames[: 4 * 30])
    np.testing.assert_array_equal(places[10 * 30 : 12 * 30], frames[10 * 30 : 12 * 30])
    np.testing.assert_array_equal(places[12 * 30 :], frames[4 * 30 : 6 * 30])


def test_inexact_bars_give_whole_frames_and_another_tempo_places_between() -> None:
    jitter = np.array([0.0, 0.02, -0.02, 0.01, 0.0])
    steady = [Section("A", np.arange(5) * 2.0), Section("A", 8 + np.arange(5) * 2.0 + jitter)]
    places = repeated_frames(steady, 480)
    assert places is not None
    assert set(np.diff(places[240:480])) == {1.0}
    slower = [Section("A", np.arange(5) * 2.0), Section("A", 8 + np.arange(5) * 2.5)]
    places = repeated_frames(slower, 540)
    assert places is not None
    np.testing.assert_allclose(np.diff(places[240:540]), 0.8)


def test_nothing_is_repeated() -> None:
    assert repeated_frames([], 100) is None
    assert repeated_frames([Section("A", np.arange(3.0)), Section("B", np.arange(2.0, 5))], 150) is None
    beyond = [Section("A", np.arange(3.0)), Section("A", np.arange(2.0, 5))]
    assert repeated_frames(beyond, 60) is None
    assert repeated_frames(beyond, 61) is not None


@given(
    labels=st.text("AB", min_size=1, max_size=8),
    bars=st.lists(st.floats(0.4, 4), min_size=40, max_size=40),
    frames=st.integers(1, 3000),
)
def test_what_is_repeated_comes_before(labels: str, bars: list[float], frames: int) -> None:
    edges = np.cumsum([0, *bars])
    sections = [Section(label, edges[5 * i : 5 * i + 6]) for i, label in enumerate(labels)]
    places = repeated_frames(sections, frames)
    if places is None:
        return
    assert places.shape == (frames,)
    assert (places >= 0).all()
    assert (places <= np.arange(frames)).all()


@pytest.mark.parametrize("frames", [1, 7])
def test_a_single_frame(frames: int) -> None:
    assert repeated_frames([Section("A", np.array([0.0, 0.1]))], frames) is None
