"""The 35-d features: equal to the published recipe column by column, and finite whatever is played."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.music.audio import SAMPLE_RATE, Audio
from choreo.music.compiling import load_librosa
from choreo.music.features import BEAT, CHROMA, DSP_DIM, MFCC, ONSET, ONSET_PEAK, dsp35, normalized_onset, with_beats
from choreo.music.onsets import HOP
from choreo.music.synth import synthesize_song


def audio_of(samples: np.ndarray, sample_rate: int = SAMPLE_RATE) -> Audio:
    return Audio(np.asarray(samples, np.float32), sample_rate, len(samples) / sample_rate, "")


@pytest.mark.parametrize("seconds", [1.2, 9.99, 12.0])
def test_equals_the_recipe_of_the_training_data(seconds: float) -> None:
    song, rate, _ = synthesize_song(110, seconds, style="breakbeat")
    audio = audio_of(song, rate).at(SAMPLE_RATE)
    features, y = dsp35(audio), audio.samples
    frames = len(features)
    librosa = load_librosa()
    envelope = librosa.onset.onset_strength(y=y, sr=SAMPLE_RATE)
    np.testing.assert_allclose(features[:, ONSET], envelope[:frames], atol=1e-5)
    mfcc = librosa.feature.mfcc(y=y, sr=SAMPLE_RATE, n_mfcc=20).T
    np.testing.assert_allclose(features[:, MFCC], mfcc[:frames], atol=1e-3)
    chroma = librosa.feature.chroma_cens(y=y, sr=SAMPLE_RATE, hop_length=HOP, n_chroma=12).T
    np.testing.assert_allclose(features[:, CHROMA], chroma[:frames], atol=1e-5)
    peaks = librosa.onset.onset_detect(onset_envelope=envelope, sr=SAMPLE_RATE, hop_length=HOP)
    assert set(np.flatnonzero(features[:, ONSET_PEAK])) == {p for p in peaks if p < frames}


def test_beats_are_those_that_are_given() -> None:
    audio = audio_of(np.random.default_rng(0).uniform(-1, 1, 2 * SAMPLE_RATE))
    features = dsp35(audio, [0.0, 0.49, 1.03, 2.0])
    assert np.flatnonzero(features[:, BEAT]).tolist() == [0, 15, 31, 59]
    assert not dsp35(audio)[:, BEAT].any()
    np.testing.assert_array_equal(np.delete(features, BEAT, 1), np.delete(dsp35(audio), BEAT, 1))
    wide = np.zeros((3, 36), np.float32)
    assert with_beats(wide, [0.0]) is wide


def test_the_columns_mean_what_they_say() -> None:
    t = np.arange(6 * SAMPLE_RATE) / SAMPLE_RATE
    features = dsp35(audio_of(0.5 * np.sin(2 * np.pi * 440 * t)))
    assert features.shape == (180, DSP_DIM)
    assert features.dtype == np.float32
    assert (features[30:150, CHROMA].argmax(axis=1) == 9).all()  # A is the tenth of C, C#, D, ...
    assert set(np.unique(features[:, [ONSET_PEAK, BEAT]])) <= {0, 1}
    np.testing.assert_allclose(np.linalg.norm(features[:, CHROMA], axis=1), 1, atol=1e-5)


def test_another_sampling_rate_gives_the_same_features() -> None:
    song, rate, _ = synthesize_song(100, 4)
    audio = audio_of(song, rate)
    np.testing.assert_array_equal(dsp35(audio), dsp35(audio.at(SAMPLE_RATE)))


@given(
    seconds=st.floats(0.1, 2.5),
    gain=st.sampled_from([0.0, 1e-20, 1e-6, 1.0, 1e5]),
    kind=st.sampled_from(["noise", "constant", "impulse"]),
)
@settings(max_examples=25, deadline=None)
def test_always_finite_and_of_the_right_length(seconds: float, gain: float, kind: str) -> None:
    samples = np.zeros(int(seconds * SAMPLE_RATE), np.float32)
    if kind == "noise":
        samples += np.random.default_rng(0).uniform(-1, 1, len(samples)).astype(np.float32)
    elif kind == "constant":
        samples += 1
    else:
        samples[len(samples) // 2] = 1
    audio = audio_of(samples * np.float32(gain))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # librosa remarks on windows longer than the song
        features = dsp35(audio)
    assert features.shape == (max(1, round(30 * audio.seconds)), DSP_DIM)
    assert np.isfinite(features).all()


def test_silence_has_no_rhythm_and_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features = dsp35(audio_of(np.zeros(3 * SAMPLE_RATE)))
    assert not features[:, [ONSET, ONSET_PEAK, BEAT]].any()
    assert not features[:, CHROMA].any()


def test_onsets_are_normalised_by_a_percentile_with_a_floor() -> None:
    assert len(normalized_onset(np.zeros(0))) == 0
    assert not normalized_onset(np.zeros(100)).any()
    assert normalized_onset(np.full(100, 0.01)).max() == pytest.approx(0.01)
    loud = np.tile([0.0, 0.0, 8.0], 200)
    loud[5] = 1000
    onset = normalized_onset(loud)
    assert onset.dtype == np.float32
    assert (onset.min(), onset.max(), float(np.median(onset[2::3]))) == (0, 1, 1)
