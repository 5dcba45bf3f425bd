"""Channels that are silent or cancel each other: what sounds is heard, at its level, and it is said."""

import numpy as np
import pytest
from odd_songs import drums, wav

from choreo.music.audio import decode_audio
from choreo.music.channels import to_stereo
from choreo.music.encoders import DSP35
from choreo.music.soundtrack import decode_soundtrack

SONG = drums()
SILENCE = np.zeros_like(SONG)
ALONE = decode_audio(wav(SONG)).samples


def heard(*channels: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    audio = decode_audio(wav(np.stack(channels, axis=1)), mix="heard")
    return audio.samples, audio.notes


@pytest.mark.parametrize("gain", [-1.0, -0.9, -0.5])
def test_inverted_stereo_is_heard(gain: float) -> None:
    samples, notes = heard(SONG, gain * SONG)
    np.testing.assert_allclose(samples, ALONE, atol=1e-3)
    assert notes == ("channels left and right cancel each other; right is left out",)


def test_the_louder_one_of_two_that_cancel_is_heard() -> None:
    samples, notes = heard(-0.5 * SONG, SONG)
    np.testing.assert_allclose(samples, ALONE, atol=1e-3)
    assert "left is left out" in notes[0]


def test_a_song_that_is_inverted_in_part_is_heard_throughout() -> None:
    turned = np.where(np.arange(len(SONG)) < len(SONG) / 2, SONG, -SONG)
    samples, (note,) = heard(SONG, turned)
    np.testing.assert_allclose(samples, ALONE, atol=1e-3)
    assert "for 50 % of the time" in note


def test_inverted_surround_is_heard() -> None:
    samples, notes = heard(SONG, -SONG, 0.02 * SONG, SILENCE, 0.01 * SONG, 0.01 * SONG)
    assert samples.std() > 0.2 * ALONE.std()
    assert "1 of 6 channels are silent" in notes[0]
    assert "channels 1 and 2 cancel" in notes[1]


@pytest.mark.parametrize("offset", [0.0, 0.2])
def test_a_dead_channel_takes_nothing_away(offset: float) -> None:
    samples, notes = heard(SONG, SILENCE + offset)
    np.testing.assert_allclose(samples, ALONE, atol=1e-3)
    assert notes == ("the right channel is silent; the left one is used alone",)


def test_mono_in_surround_has_its_own_level() -> None:
    samples, notes = heard(SILENCE, SILENCE, SONG, SILENCE, SILENCE, SILENCE)
    np.testing.assert_allclose(samples, ALONE, atol=1e-3)
    assert notes == ("5 of 6 channels are silent; the others are used",)


def test_ordinary_stereo_is_the_mean_without_a_note() -> None:
    other = np.random.default_rng(1).standard_normal(len(SONG)) * 0.05
    samples, notes = heard(SONG, SONG + other)
    np.testing.assert_allclose(samples, decode_audio(wav(SONG + other / 2), mix="heard").samples, atol=1e-3)
    assert notes == ()
    assert heard(SILENCE, SILENCE)[1] == ()


def test_inverted_stereo_has_the_beats_of_the_song() -> None:
    song, inverted = (decode_audio(wav(np.stack([SONG, sign * SONG], axis=1)), mix="heard") for sign in (1, -1))
    beats = [DSP35.encode(audio).beats for audio in (song, inverted)]
    assert len(beats[0]) > 10
    np.testing.assert_allclose(beats[1], beats[0], atol=0.04)


@pytest.mark.parametrize("sign", [-1, 0])
def test_the_film_has_what_is_heard_on_both_sides(sign: int) -> None:
    samples = decode_soundtrack(wav(np.stack([SONG, sign * SONG], axis=1)), 2.0).samples
    np.testing.assert_array_equal(samples[:, 0], samples[:, 1])
    assert samples.std() > 500


def test_surround_becomes_stereo_without_getting_louder() -> None:
    block = np.ones((4, 6), np.float32)
    assert to_stereo(block, list(range(6))) == pytest.approx(1)
    left = to_stereo(np.eye(6, dtype=np.float32), list(range(6)))
    assert left[0, 0] > 0
    assert left[0, 1] == 0
    assert left[2, 0] == left[2, 1] > 0
    assert to_stereo(np.eye(6, dtype=np.float32), [0, 4]).any(axis=0).all()


def test_the_mean_of_channels_that_cancel_is_silence_without_beats_and_says_so() -> None:
    audio = decode_audio(wav(np.stack([SONG, -SONG], axis=1)))
    assert np.abs(audio.samples).max() < 1e-4
    assert len(DSP35.encode(audio).beats) == 0
    assert audio.notes == ("channels left and right cancel each other",)
