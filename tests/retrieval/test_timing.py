import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.phrases import KINETIC, STATS, Phrase
from retrieval.timing import MAX_WARP, beat_grid, chain, warp


def phrase(tempo: float = 120.0, counts: int = 8, lead: float = 0.0) -> Phrase:
    """`counts` beats that begin `lead` seconds into the phrase."""
    beats = lead + np.arange(counts + 1) * 60 / tempo if tempo else np.zeros(0)
    frames = round((lead + counts * 60 / (tempo or 120)) * 30)
    return Phrase(
        id="0", source="s", start=0.0, licence="", caption="", genre="", style="", words="", tempo=tempo,
        beat_strength=None, energy=1.0, num_frames=frames, first_row=0, beats=tuple(beats.tolist()),
        stats=(0.0,) * len(STATS), kinetic=(0.0,) * len(KINETIC), music=None,
    )  # fmt: skip


def regular(period: float, start: float) -> list[float]:
    return list(start + np.arange(0, 30, period))


@given(
    st.lists(st.tuples(st.floats(30, 250), st.integers(1, 12), st.floats(0, 1)), min_size=1, max_size=4),
    st.lists(st.floats(-5, 70), max_size=80) | st.builds(regular, st.floats(0.2, 2), st.floats(0, 1)),
    st.integers(1, 1500),
    st.sampled_from([20.0, 30.0, 60.0]),
)  # fmt: skip
def test_the_timeline_is_filled_without_gaps_and_within_the_limits(specs, beats, num_frames, fps) -> None:
    phrases = [phrase(*spec) for spec in specs]
    segments = chain(phrases, num_frames, beats, fps)
    assert [s.first for s in segments] == np.cumsum([0, *(len(s.times) for s in segments)])[:-1].tolist()
    assert sum(len(s.times) for s in segments) == num_frames
    for i, segment in enumerate(segments):
        assert segment.choice == i % len(phrases)
        assert np.isfinite(segment.times).all()
        assert segment.times.min() >= 0
        assert segment.times.max() <= phrases[segment.choice].num_frames / 30 + 1e-6
        rates = np.diff(segment.times) * fps
        assert ((rates >= 1 - MAX_WARP - 1e-6) & (rates <= 1 + MAX_WARP + 1e-6)).all()


@pytest.mark.parametrize("tempo", [104.0, 110.0, 120.0, 130.0, 137.0])
def test_phrase_beats_land_on_song_beats(tempo: float) -> None:
    song = np.arange(0, 30, 60 / tempo)
    clock, played = warp(phrase(120), beat_grid(song, 30), 0.0)
    assert np.allclose(np.interp(np.arange(9) * 0.5, played, clock), song[:9], atol=1e-6)


@pytest.mark.parametrize(("own", "song"), [(60, 120), (120, 60), (62, 125), (124, 60), (90, 180), (150, 75), (45, 180)])
def test_halves_and_doubles_lock_too(own: float, song: float) -> None:
    times = np.arange(0, 60, 60 / song)
    fine = np.arange(0, 60, 60 / song / 4)
    clock, played = warp(phrase(own), beat_grid(times, 60), 0.0)
    landed = np.interp(np.arange(8) * 60 / own, played, clock)
    assert np.abs(landed[:, None] - fine).min(1).max() < 1e-6
    rates = np.diff(played) / np.diff(clock)
    assert np.ptp(rates) < 0.05
    assert np.abs(clock[-1] - fine).min() < 1e-6


def test_a_tempo_too_far_off_is_left_alone() -> None:
    clock, played = warp(phrase(120), beat_grid(np.arange(0, 30, 60 / 95), 30), 0.0)
    assert np.allclose(np.diff(played) / np.diff(clock), 1)


def test_every_phrase_of_a_chain_is_on_the_beat() -> None:
    song = 0.23 + np.arange(0, 60, 60 / 113)
    grid = beat_grid(song, 60)
    now = 0.0
    for item in (phrase(120), phrase(108), phrase(113, 4)) * 3:
        clock, played = warp(item, grid, now)
        now = clock[-1]
        own = np.array(item.beats)[np.array(item.beats) >= played[0]]
        landed = np.interp(own, played, clock)
        assert np.abs(landed[1:, None] - grid).min(1).max() < 0.02


def test_uneven_song_beats_are_followed_as_far_as_allowed() -> None:
    rng = np.random.default_rng(1)
    song = np.cumsum(rng.uniform(0.47, 0.53, 60))
    clock, played = warp(phrase(120, 16), beat_grid(song, 30), 0.0)
    landed = np.interp(np.arange(1, 16) * 0.5, played, clock)
    assert np.abs(landed[:, None] - song).min(1).max() < 1e-6


def test_without_beats_phrases_play_as_they_are() -> None:
    for own, song in ((0.0, np.arange(0, 9, 0.5)), (120.0, np.zeros(0)), (120.0, np.array([1.0]))):
        segments = chain([phrase(own)], 300, song, 30)
        assert np.allclose(segments[0].times, np.arange(120) / 30)


def test_the_grid_goes_on_on_both_sides() -> None:
    grid = beat_grid([np.nan, 1.2, 0.7, 1.7, 1.7], 4.0)
    assert np.allclose(np.diff(grid), 0.5)
    assert grid[0] < 0
    assert grid[-1] > 4.0


@pytest.mark.parametrize("beats", [[], [1.0], [1.0, 1.0], [0, 0.01, 0.02], [0, 10, 20], [np.nan, np.inf]])
def test_what_is_no_grid_is_empty(beats: list[float]) -> None:
    assert len(beat_grid(beats, 10.0)) == 0
