import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from choreo.errors import InvalidInput
from choreo.music.audio import Audio
from choreo.music.features import BEAT, CHROMA, ONSET, ONSET_PEAK, dsp35
from choreo.music.synth import synthesize_song
from retrieval.library.song_summary import PATTERN, SUMMARY, song_summary


def song(style: str, tempo: float = 110.0) -> tuple[np.ndarray, np.ndarray]:
    samples, rate, beats = synthesize_song(tempo, 20.0, 1, style)
    return dsp35(Audio(samples, rate, len(samples) / rate, style)), beats


@pytest.fixture(scope="module")
def songs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {style: song(style) for style in ("house", "waltz", "breakbeat")}


def numbers(features: np.ndarray, beats: np.ndarray) -> dict[str, float]:
    return dict(zip(SUMMARY, song_summary(features, beats), strict=True))


def test_a_waltz_counts_in_three_and_the_others_do_not(songs) -> None:
    triple = {style: numbers(*song)["timbre_triple"] for style, song in songs.items()}
    assert triple["waltz"] > 0.2
    assert max(triple["house"], triple["breakbeat"]) < 0


def test_drums_are_more_percussive_and_denser_than_a_waltz(songs) -> None:
    found = {style: numbers(*song) for style, song in songs.items()}
    assert found["house"]["percussiveness"] > found["waltz"]["percussiveness"]
    assert found["breakbeat"]["onset_density"] > found["waltz"]["onset_density"]


@pytest.mark.parametrize("style", ["house", "waltz", "breakbeat"])
def test_beats_of_another_octave_change_little(songs, style: str) -> None:
    features, beats = songs[style]
    twice = np.sort(np.concatenate([beats, beats[:-1] + np.diff(beats) / 2]))
    usual = song_summary(features, beats)
    for other in (beats[::2], twice):
        assert np.allclose(song_summary(features, other), usual, atol=0.06)


def test_golden_numbers_of_a_known_rhythm() -> None:
    """A click on each beat at 120 BPM, every third one louder."""
    features = np.zeros((601, 35))
    clicks = np.arange(0, 601, 15)
    features[clicks, ONSET] = 1
    features[clicks[::3], ONSET] = 2
    features[clicks, ONSET_PEAK] = 1
    found = numbers(features, clicks / 30)
    assert found["onset_density"] == pytest.approx(len(clicks) * 30 / 601, abs=1e-6)
    assert found["accent_triple"] > 0.1
    assert found["accent_triple"] + found["accent_duple"] == pytest.approx(1, abs=0.02)
    assert found["mfcc_1_mean"] == found["timbre_triple"] == found["percussiveness"] == 0


def test_loudness_and_what_it_does_not_use_change_nothing(songs) -> None:
    features, beats = songs["house"]
    louder = features.copy()
    louder[:, 1] += 20
    louder[:, CHROMA] = 0
    louder[:, BEAT] = 0
    assert np.allclose(song_summary(louder, beats), song_summary(features, beats), atol=1e-4)


@given(arrays(np.float64, st.tuples(st.integers(1, 40), st.just(35)), elements=st.floats(-1e300, 1e300)),
       st.lists(st.floats(allow_nan=True), max_size=20))  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_it_is_finite_for_whatever_is_finite(features: np.ndarray, beats: list[float]) -> None:
    found = song_summary(features, beats)
    assert len(found) == len(SUMMARY)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("frames", [1, 2, 300])
def test_silence_is_zeros(frames: int) -> None:
    assert not np.any(song_summary(np.zeros((frames, 35)), np.arange(0, frames / 30, 0.5)))


def test_without_beats_nothing_is_known_of_its_count(songs) -> None:
    found = numbers(songs["waltz"][0], np.zeros(0))
    assert [found[name] for name in PATTERN[2:]] == [0.0] * 4


@pytest.mark.parametrize("features", [np.zeros((0, 35)), np.zeros((5, 34)), np.zeros(35), np.full((5, 35), np.nan)])
def test_what_are_no_features_is_refused(features: np.ndarray) -> None:
    with pytest.raises(InvalidInput, match="features"):
        song_summary(features, [])
