"""Beats that are said: what is refused, where a grid lies in a song, and what of its features changes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.errors import InvalidInput
from choreo.music.audio import Audio
from choreo.music.beats import tempo_of
from choreo.music.encoded import JUKEBOX_DIM, MusicFeatures, precomputed
from choreo.music.encoders import DSP35
from choreo.music.features import BEAT, DSP_DIM, ONSET
from choreo.music.rhythm import AS_HEARD, MAX_BEATS, Rhythm, best_grid, said, with_rhythm_as_said
from choreo.music.synth import synthesize_song

NAN, INFINITY = float("nan"), float("inf")


def features(frames: int = 300, beats: list[int] | None = None) -> MusicFeatures:
    columns = np.random.default_rng(0).random((frames, DSP_DIM), np.float32)
    columns[:, BEAT] = 0
    columns[beats or [], BEAT] = 1
    return precomputed(columns)


def heard(tempo: float, seconds: float, silence: float, style: str) -> tuple[MusicFeatures, np.ndarray]:
    """A synthesised song after a silence, encoded, and its beats."""
    samples, rate, beats = synthesize_song(tempo, seconds, style=style)
    whole = np.concatenate([np.zeros(round(silence * rate), np.float32), samples])
    return DSP35.encode(Audio(whole, rate, len(whole) / rate, "").at(15_360)), beats + silence


@pytest.mark.parametrize(
    ("values", "field"),
    [
        *(({"bpm": bpm}, "bpm") for bpm in (0, NAN, 1e9, -120, INFINITY, 19.99, 300.01)),
        *(({"beats": beats}, "beats") for beats in ([], [1.0], list(range(MAX_BEATS + 1)))),
        ({"beats": [0, 1, 2, 1.5]}, "beats.3"),
        ({"beats": [0, 1, 1]}, "beats.2"),
        ({"beats": [0, 5e-324]}, "beats.1"),
        ({"beats": [0, 0.5, 0.51]}, "beats.2"),
        ({"beats": [-0.1, 1]}, "beats.0"),
        ({"beats": [0, NAN, 1]}, "beats.1"),
        ({"beats": [0, 1, INFINITY]}, "beats.2"),
        ({"beats": [0, 0.5, 1], "bpm": 126}, "bpm"),
        ({"beats": [0, 0.5, 1], "bpm": 60}, "bpm"),
        ({"beats": [0, 0.5], "half_time": True}, "half_time"),
        ({"downbeats": [0, 2]}, "downbeats"),
        *(({"beats": [0, 1, 2], "downbeats": bars}, "downbeats") for bars in ([], [1.0])),
        ({"beats": [0, 1, 2], "downbeats": [0, 1.04]}, "downbeats.1"),
        ({"beats": [0, 1, 2], "downbeats": [1, 0]}, "downbeats.1"),
        ({"beats": [0, 1, 2], "downbeats": [0, NAN]}, "downbeats.1"),
        ({"beats": [0, 0.034, 2], "downbeats": [0.97, 2]}, "downbeats.0"),
        ({"beats": [0, 1, 2], "downbeats": [0.967, 1.033]}, "downbeats.1"),
        ({"bpm": 120, "downbeats": [0, 2, 4.25]}, "downbeats.2"),
        ({"bpm": 60, "downbeats": [0, 0.05]}, "downbeats.1"),
    ],
)
def test_what_cannot_be_is_named(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        said(**{"bpm": None, "beats": None, "half_time": False} | values)
    assert caught.value.field == field


def test_what_agrees_is_taken() -> None:
    assert said(None, None, False) == AS_HEARD
    assert said(20, None, True) == Rhythm(20, None, True)
    assert said(124, [0, 0.5, 1], True) == Rhythm(124, (0, 0.5, 1), True)
    assert len(said(None, list(range(MAX_BEATS)), False).beats or ()) == MAX_BEATS


@pytest.mark.parametrize(
    ("rhythm", "field"),
    [((120, None, False), "bpm"), ((None, [0, 1], False), "beats"), ((None, None, True), "half_time")],
)
def test_a_rhythm_without_a_song_is_refused(rhythm: tuple[Any, Any, bool], field: str) -> None:
    assert said(*rhythm).field == field
    with pytest.raises(InvalidInput) as caught:
        said(*rhythm, has_song=False)
    assert caught.value.field == field
    assert said(None, None, False, has_song=False) is not None


@pytest.mark.parametrize(
    ("tempo", "silence", "style"),
    [(120, 0.0, "house"), (97.3, 0.31, "house"), (174, 0.115, "house"), (62.5, 0.7, "house"), (132, 0.22, "waltz")],
)
def test_the_grid_of_a_tempo_lies_on_the_beats(tempo: float, silence: float, style: str) -> None:
    song, beats = heard(tempo, 12, silence, style)
    found = with_rhythm_as_said(song, said(tempo, None, False))
    assert found.tempo == pytest.approx(tempo)
    for beat in found.beats[found.beats > silence - 0.1]:
        assert np.abs(beats - beat).min() < 0.05


@given(
    bpm=st.floats(20, 300),
    frames=st.integers(1, 400),
    seed=st.integers(0, 9),
)
def test_no_other_phase_of_a_grid_meets_more_onsets(bpm: float, frames: int, seed: int) -> None:
    onset = np.random.default_rng(seed).random(frames).astype(np.float32)
    beats, period, length = best_grid(onset, bpm), 60 / bpm, frames / 30
    assert 0 <= beats[0] < min(period, length)
    assert beats[-1] < length <= beats[-1] + period + 1e-9
    np.testing.assert_allclose(np.diff(beats), period, atol=1e-9)

    def met(times: np.ndarray) -> float:
        return float(np.interp(times * 30, np.arange(frames), onset, right=0).sum())

    for phase in np.arange(0, min(period, length), 1 / 30):
        assert met(phase + period * np.arange(len(beats) + 1)) <= met(beats) + 1e-6


def test_a_song_of_which_nothing_is_known_has_its_first_beat_at_its_start() -> None:
    np.testing.assert_allclose(best_grid(np.zeros(60, np.float32), 120), [0, 0.5, 1, 1.5])


@given(st.lists(st.floats(0.04, 2), min_size=2, max_size=12), st.booleans())
def test_only_beats_tempo_and_their_column_change(steps: list[float], half_time: bool) -> None:
    beats = np.cumsum(steps)
    song = features(round(30 * (beats[-1] + 0.1)) + 1, [0])
    before = song.features.copy()
    if half_time and len(steps) == 2:
        return
    new = with_rhythm_as_said(song, said(None, beats.tolist(), half_time))
    used = beats[::2] if half_time else beats
    np.testing.assert_array_equal(new.beats, used)
    assert new.tempo == tempo_of(used)
    np.testing.assert_array_equal(np.delete(new.features, BEAT, 1), np.delete(before, BEAT, 1))
    np.testing.assert_array_equal(np.flatnonzero(new.features[:, BEAT]), np.unique(np.rint(used * 30).astype(int)))
    np.testing.assert_array_equal(song.features, before)
    assert (new.onset is song.onset, new.digest, new.encoder) == (True, song.digest, song.encoder)
    again = precomputed(new.features)
    np.testing.assert_allclose(again.beats, used, atol=1 / 60 + 1e-9)


def test_what_is_not_said_is_as_it_was_heard() -> None:
    song = features(beats=[0, 15, 30, 45])
    assert with_rhythm_as_said(song, AS_HEARD) is song
    half = with_rhythm_as_said(song, said(None, None, True))
    np.testing.assert_allclose(half.beats, [0, 1])
    assert (song.tempo, half.tempo) == (120, 60)
    assert len(with_rhythm_as_said(features(), said(None, None, True)).beats) == 0


def test_half_a_grid_begins_with_its_first_beat() -> None:
    song = features(300)
    whole, half = (with_rhythm_as_said(song, said(120, None, half)) for half in (False, True))
    np.testing.assert_array_equal(half.beats, whole.beats[::2])
    assert half.tempo == pytest.approx(60)


def test_beats_end_with_the_song() -> None:
    song = features(90)
    assert with_rhythm_as_said(song, said(None, [0, 1, 3.01], False)).features[89, BEAT] == 1
    with pytest.raises(InvalidInput, match=r"3\.2 s, and the song lasts 3\.00 s") as caught:
        with_rhythm_as_said(song, said(None, [0, 1, 3.2, 4], False))
    assert caught.value.field == "beats.2"


def test_features_without_a_column_of_beats_are_left() -> None:
    song = precomputed(np.zeros((60, JUKEBOX_DIM), np.float32))
    new = with_rhythm_as_said(song, said(None, [0, 0.5, 1], False))
    assert new.features is song.features
    assert new.tempo == 120


def test_a_beat_by_ear_is_that_of_the_onsets() -> None:
    """A click every 20 frames from frame 7 on."""
    columns = np.zeros((200, DSP_DIM), np.float32)
    columns[7::20, ONSET] = 5
    new = with_rhythm_as_said(precomputed(columns), said(90, None, False))
    np.testing.assert_allclose(new.beats, np.arange(7, 200, 20) / 30)


def test_bars_that_are_said_travel_with_the_beats() -> None:
    song = features(300)
    rhythm = said(None, [0.0, 0.5, 1.0, 1.5, 2.0], False, downbeats=[0.02, 1.98])
    assert with_rhythm_as_said(song, rhythm).downbeats.tolist() == [0, 2]
    half = said(None, [0.0, 0.5, 1.0, 1.5, 2.0], True, downbeats=[0.5, 2.0])
    assert with_rhythm_as_said(song, half).downbeats.tolist() == [2]
    with pytest.raises(InvalidInput) as caught:
        with_rhythm_as_said(song, said(120, None, False, downbeats=[0, 12]))
    assert caught.value.field == "downbeats.1"


def test_downbeats_and_a_tempo_say_where_the_grid_lies() -> None:
    song = with_rhythm_as_said(features(300), said(120, None, False, downbeats=[0.3, 2.3, 4.3]))
    np.testing.assert_allclose(song.beats, np.arange(0.3, 10, 0.5))
    np.testing.assert_allclose(song.downbeats, [0.3, 2.3, 4.3])
    at_zero = with_rhythm_as_said(features(300), said(120, None, False, downbeats=[0.0, 1.98]))
    assert (at_zero.beats[0], at_zero.downbeats[0]) == (0, 0)


def test_bars_are_not_known_of_beats_that_are_said_alone() -> None:
    samples, rate, _ = synthesize_song(120, 12)
    song = DSP35.encode(Audio(samples, rate, 12.0, ""))
    assert len(song.downbeats) > 3
    assert not len(with_rhythm_as_said(song, said(120, None, False)).downbeats)
    kept = with_rhythm_as_said(song, said(None, None, True))
    assert set(kept.downbeats) <= set(kept.beats)
    assert kept.beat_confidence == song.beat_confidence
