"""Phase channels: zero on every beat, linear between, extrapolated by the median, silent where there is nothing."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.music.beats import BAR, beat_phase_channels, beats_of, downbeats_of, tempo_of

GRIDS = st.lists(st.integers(5, 40), min_size=1, max_size=30).map(lambda gaps: np.cumsum(gaps))


def phase_of(channels: np.ndarray) -> np.ndarray:
    """Phase in -0.5..0.5 beats."""
    return np.arctan2(channels[:, 0], channels[:, 1]) / (2 * np.pi)


@given(GRIDS)
@settings(max_examples=60, deadline=None)
def test_phase_is_zero_on_every_beat_and_a_unit_vector_everywhere(frames: np.ndarray) -> None:
    onset = np.linspace(0, 1, frames[-1] + 50)
    channels = beat_phase_channels(frames / 30, onset, len(onset))
    assert channels.shape == (len(onset), 8)
    assert channels.dtype == np.float32
    np.testing.assert_allclose(channels[:, 2], onset, atol=1e-6)
    assert (channels[:, 3] == 1).all()
    if len(frames) == 1:
        assert not channels[:, :2].any()
        return
    np.testing.assert_allclose(channels[frames, 0], 0, atol=1e-6)
    np.testing.assert_allclose(channels[frames, 1], 1, atol=1e-6)
    np.testing.assert_allclose(np.hypot(channels[:, 0], channels[:, 1]), 1, atol=1e-6)


@given(GRIDS.filter(lambda frames: len(frames) > 1))
@settings(max_examples=40, deadline=None)
def test_phase_advances_linearly_between_beats(frames: np.ndarray) -> None:
    phase = phase_of(beat_phase_channels(frames / 30, np.ones(frames[-1] + 1), frames[-1] + 1))
    for first, last in pairwise(frames):
        expected = np.arange(last - first) / (last - first)
        difference = (phase[first:last] - expected + 0.5) % 1 - 0.5
        np.testing.assert_allclose(difference, 0, atol=1e-5)


def test_phase_goes_on_with_the_median_period_outside_the_beats() -> None:
    beats = np.array([2.0, 2.5, 3.0, 3.5, 4.5])
    channels = beat_phase_channels(beats, np.ones(300), 300)
    for frame in (0, 15, 30, 45, 60, 135, 150, 285):
        np.testing.assert_allclose(channels[frame, :2], [0, 1], atol=1e-5)


def test_nothing_is_heard_beyond_the_song() -> None:
    channels = beat_phase_channels([0.0, 0.5, 1.0], np.ones(40), 100)
    assert channels[:40, 3].all()
    assert not channels[40:].any()
    np.testing.assert_array_equal(beat_phase_channels([0.0, 0.5, 1.0], np.ones(40), 25), channels[:25])


@pytest.mark.parametrize("beats", [[], [1.0], [1.0, 1.0], [np.nan, 2.0]])
def test_without_a_grid_there_is_no_phase(beats: list[float]) -> None:
    channels = beat_phase_channels(beats, np.full(30, 0.5), 30)
    assert not channels[:, :2].any()
    assert channels[:, 3].all()
    assert tempo_of(beats) == 0


def test_no_song_at_all_is_all_zeros() -> None:
    assert not beat_phase_channels([], [], 50).any()
    assert beat_phase_channels([], [], 0).shape == (0, 8)


def test_onsets_are_clipped_and_any_frame_rate_is_fine() -> None:
    channels = beat_phase_channels([0.0, 0.5], [-1.0, 3.0, 0.25], 3, fps=2)
    np.testing.assert_allclose(channels[:, 2], [0, 1, 0.25])
    np.testing.assert_allclose(channels[:, :2], [[0, 1]] * 3, atol=1e-6)


@given(st.floats(40, 240), st.integers(2, 50), st.floats(0, 100))
@settings(deadline=None)
def test_tempo_of_an_even_grid(tempo: float, count: int, start: float) -> None:
    beats = start + np.arange(count) * 60 / tempo
    assert tempo_of(beats) == pytest.approx(tempo, rel=1e-6)
    assert tempo_of(beats[::-1]) == pytest.approx(tempo, rel=1e-6)


@given(st.floats(60, 180), st.floats(0, 0.9))
def test_beats_come_back_from_their_channels(tempo: float, first: float) -> None:
    beats = np.arange(first, 10, 60 / tempo)
    channels = beat_phase_channels(beats, np.ones(300), 300)
    found = beats_of(channels)
    inside = found[(found >= beats[0] - 1e-6) & (found <= beats[-1] + 1e-6)]
    np.testing.assert_allclose(inside, beats[: len(inside)], atol=0.01)  # the last may lie after the last frame
    assert len(inside) >= len(beats) - 1


def test_silence_has_no_beats() -> None:
    assert not len(beats_of(np.zeros((100, 4))))


def test_bars_and_closeness_are_these_numbers() -> None:
    beats = np.arange(0.5, 4, 0.5)  # at frames 15, 30, ...
    channels = beat_phase_channels(beats, np.ones(120), 120, downbeats=[0.5, 2.5])
    np.testing.assert_allclose(channels[[15, 30, 45, 60, 75, 0], 4], [0, 1, 0, -1, 0, -1], atol=1e-6)
    np.testing.assert_allclose(channels[[15, 30, 45, 60, 75, 0], 5], [1, 0, -1, 0, 1, 0], atol=1e-6)
    assert (channels[:, 6] == 1).all()
    np.testing.assert_allclose(
        channels[[0, 15, 18, 22, 23, 105, 115], 7], [1, 1, 0.8, 8 / 15, 8 / 15, 1, 2 / 3], atol=1e-6
    )


@pytest.mark.parametrize("downbeats", [[], [1.0], [np.nan, 1.0]])
def test_without_two_downbeats_no_bar_is_known(downbeats: list[float]) -> None:
    channels = beat_phase_channels(np.arange(0, 4, 0.5), np.ones(120), 120, downbeats=downbeats)
    assert not channels[:, BAR].any()
    assert channels[:, 7].any()
    assert not len(downbeats_of(channels))
    assert not len(downbeats_of(channels[:, :4]))


def test_silence_has_no_bar_even_if_a_beat_is_heard_just_before_the_sound() -> None:
    onset = np.concatenate([np.zeros(90), np.ones(90)])
    beats = np.arange(2.95, 6, 0.5)
    channels = beat_phase_channels(beats, onset, 180, downbeats=beats[::4])
    assert not channels[:88, [0, 1, 4, 5, 6, 7]].any()
    assert (channels[89:, 6] == 1).all()
    np.testing.assert_allclose(beats_of(channels)[0], 2.95, atol=0.01)


@given(st.floats(60, 180), st.integers(2, 6), st.floats(0, 0.9))
def test_downbeats_come_back_from_their_channels(tempo: float, meter: int, first: float) -> None:
    beats = np.arange(first, 20, 60 / tempo)
    found = downbeats_of(beat_phase_channels(beats, np.ones(600), 600, downbeats=beats[::meter]))
    for bar in beats[::meter][:-1]:
        assert np.abs(found - bar).min() < 0.01
