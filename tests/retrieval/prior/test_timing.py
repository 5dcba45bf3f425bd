import numpy as np
import pytest
from synthetic_phrases import phrase

from retrieval.prior.timing import MAX_WARP, Clock, beat_grid, match


def clock(own: float, song: np.ndarray, counts: int = 8) -> Clock:
    return match(phrase(own, counts), beat_grid(song, 60)).clock(0.0, 0.0)


def landed(it: Clock) -> np.ndarray:
    """When the beats of the phrase come on the timeline."""
    return it.song[it.beat >= 0]


@pytest.mark.parametrize("tempo", [104.0, 110.0, 120.0, 130.0, 137.0])
def test_phrase_beats_land_on_song_beats(tempo: float) -> None:
    song = np.arange(0, 30, 60 / tempo)
    assert np.allclose(landed(clock(120, song)), song[:9], atol=1e-6)


@pytest.mark.parametrize(
    ("own", "song"), [(60, 120), (120, 60), (62, 125), (124, 60), (90, 180), (150, 75), (45, 180), (52, 180)]
)
def test_halves_and_doubles_lock_too(own: float, song: float) -> None:
    fine = np.arange(0, 60, 60 / song / 4)
    it = clock(own, np.arange(0, 60, 60 / song))
    assert len(landed(it)) == 9
    assert np.abs(landed(it)[:, None] - fine).min(1).max() < 1e-6
    assert np.ptp(np.diff(it.phrase) / np.diff(it.song)) < 0.05


def test_a_tempo_too_far_off_is_left_alone() -> None:
    it = clock(120, np.arange(0, 30, 60 / 95))
    assert np.allclose(np.diff(it.phrase) / np.diff(it.song), 1)


def test_uneven_song_beats_are_followed_as_far_as_allowed() -> None:
    rng = np.random.default_rng(1)
    song = np.cumsum(rng.uniform(0.47, 0.53, 60))
    assert np.abs(landed(clock(120, song, 16))[1:, None] - song).min(1).max() < 1e-6


def test_no_beat_is_waited_for_longer_than_the_warp_allows() -> None:
    song = np.cumsum(np.random.default_rng(1).uniform(0.3, 0.7, 60))
    rates = [np.diff(it.phrase) / np.diff(it.song) for it in (clock(t, song, 16) for t in (100, 120, 140))]
    assert max(np.abs(r - 1).max() for r in rates) <= MAX_WARP + 1e-9


def test_without_beats_phrases_play_as_they_are() -> None:
    for own, song in ((0.0, np.arange(0, 9, 0.5)), (120.0, np.zeros(0)), (120.0, np.array([1.0]))):
        it = match(phrase(own), beat_grid(song, 10)).clock(3.0, 0.5)
        assert np.allclose(it.song - 3.0, it.phrase - 0.5)
        assert it.phrase[-1] == phrase(own).seconds
        assert (it.beat == -1).all()


def test_the_next_beat_is_waited_for_unless_one_has_just_passed() -> None:
    it = match(phrase(120), beat_grid(np.arange(0, 20, 0.5), 20))
    assert np.allclose(it.until_beat(np.array([1.0, 1.05, 1.1, 1.4])), [0, 0, 0.4, 0.1])


def test_the_grid_goes_on_on_both_sides() -> None:
    grid = beat_grid([np.nan, 1.2, 0.7, 1.7, 1.7], 4.0)
    assert np.allclose(np.diff(grid), 0.5)
    assert grid[0] < 0
    assert grid[-1] > 4.0


@pytest.mark.parametrize("beats", [[], [1.0], [1.0, 1.0], [0, 0.01, 0.02], [0, 10, 20], [np.nan, np.inf]])
def test_what_is_no_grid_is_empty(beats: list[float]) -> None:
    assert len(beat_grid(beats, 10.0)) == 0
