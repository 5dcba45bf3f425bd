"""How sure beats are: clear for a pulse, not for noise or for onsets without one."""

import numpy as np
import pytest

from choreo.music.song_beats import NO_BEATS, SURE, given_beats, heard_beats

FPS = 30


def pulse(beats: np.ndarray, frames: int, floor: float = 0.05) -> np.ndarray:
    """Onset strength with a peak at each beat."""
    onset = np.full(frames, floor, np.float32)
    onset[np.rint(beats * FPS).astype(int)] = 1
    return onset


def test_a_steady_pulse_is_sure() -> None:
    beats = np.arange(0.4, 19, 0.5)
    heard = heard_beats(beats, pulse(beats, 600))
    assert heard.confidence.min() > 0.9
    np.testing.assert_array_equal(heard.sure, beats)


def test_onsets_without_a_pulse_are_not() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        onsets = np.sort(rng.choice(600, 60, replace=False)) / FPS
        beats = onsets[::2]  # as a tracker puts them on onsets
        assert heard_beats(beats, pulse(onsets, 600)).confidence.mean() < SURE
    noise = rng.random(600).astype(np.float32)
    assert not len(heard_beats(np.arange(0, 20, 0.5), noise).sure)


def test_only_the_part_with_a_pulse_is_sure() -> None:
    beats = np.arange(0.5, 80, 0.5)
    onset = pulse(beats[beats < 40], 2400)
    onset[1250:] = np.random.default_rng(1).random(1150)
    heard = heard_beats(beats, onset)
    assert heard.confidence[beats < 30].min() > 0.8
    assert heard.confidence[beats > 55].max() < SURE


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_beats_are_none(count: int) -> None:
    assert not len(heard_beats(np.arange(count) * 0.5, np.ones(100)).sure)


def test_silence_and_a_short_song_are_not_sure() -> None:
    assert not len(heard_beats([0.0, 0.5, 1.0], np.zeros(60)).sure)
    assert not len(heard_beats([0.0, 0.01, 0.02], np.ones(2)).sure)


def test_beats_that_were_given_are_sure() -> None:
    given = given_beats([0.5, 1.0])
    np.testing.assert_array_equal(given.sure, [0.5, 1.0])
    assert given.nbytes == 32
    assert not len(NO_BEATS.sure)
