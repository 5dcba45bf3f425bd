"""Rhythm needs sound: none in silence, noise of rounding and offsets, and all of it in quiet music."""

import warnings

import numpy as np
import pytest
from odd_songs import wav

from choreo.music.audio import SAMPLE_RATE, Audio, decode_audio
from choreo.music.beats import beat_phase_channels, beats_of, tempo_of
from choreo.music.encoded import MusicFeatures
from choreo.music.encoders import DSP35
from choreo.music.features import CHROMA, ONSET, ONSET_PEAK
from choreo.music.level import frame_levels, stretches_of_sound
from choreo.music.synth import synthesize_song

RATE = 44_100
RNG = np.random.default_rng(0)
TRIANGLE = (RNG.random(10 * RATE) - RNG.random(10 * RATE)) / 32768
MUSIC = decode_audio(wav(synthesize_song(120, 12)[0], 22_050)).samples
PAUSE = np.zeros(6 * SAMPLE_RATE, np.float32)


def encoded(samples: np.ndarray) -> MusicFeatures:
    return DSP35.encode(Audio(np.asarray(samples, np.float32), SAMPLE_RATE, len(samples) / SAMPLE_RATE, ""))


def assert_no_rhythm(song: MusicFeatures) -> None:
    assert (len(song.beats), song.tempo) == (0, 0)
    assert not song.onset.any()
    assert not song.features[:, [ONSET, ONSET_PEAK]].any()


@pytest.mark.parametrize(
    "samples",
    [
        TRIANGLE, np.zeros(10 * RATE), np.full(10 * RATE, 0.5), TRIANGLE + 0.25,
        0.8 * np.sin(np.arange(10 * RATE) * 4 * np.pi / RATE), np.round(TRIANGLE * 32768) / 32768,
    ],
    ids=["dither", "zeros", "offset", "offset and dither", "2 Hz", "rounding"],
)  # fmt: skip
def test_what_cannot_be_heard_has_no_rhythm(samples: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        song = DSP35.encode(decode_audio(wav(samples)))
    assert_no_rhythm(song)
    assert not song.features[:, CHROMA].any()


def test_a_single_click_is_no_rhythm() -> None:
    assert_no_rhythm(encoded(np.concatenate([PAUSE, [1.0], PAUSE])))


@pytest.mark.parametrize("level", [-30, -50, -60])
def test_quiet_music_has_its_beats(level: float) -> None:
    quiet = encoded(MUSIC * 10 ** (level / 20) / MUSIC.std())
    loud = encoded(MUSIC)
    assert quiet.tempo == pytest.approx(loud.tempo, rel=0.01)
    inside = [beat for beat in loud.beats if 0.6 < beat < 11.4]  # at either end a beat may be missed
    assert all(np.abs(quiet.beats - beat).min() < 0.02 for beat in inside)


@pytest.mark.parametrize("noise", [0.0, 1e-5])
@pytest.mark.parametrize(("parts", "silent"), [("ps", (0, 6)), ("sps", (12, 18)), ("sp", (12, 18))])
def test_there_are_no_beats_in_a_silent_stretch(parts: str, silent: tuple[float, float], noise: float) -> None:
    hiss = (noise * RNG.standard_normal(len(PAUSE))).astype(np.float32)
    song = encoded(np.concatenate([MUSIC if part == "s" else PAUSE + hiss for part in parts]))
    inside = (song.beats > silent[0] + 0.15) & (song.beats < silent[1] - 0.15)
    assert not inside.any()
    assert len(song.beats) >= 22 * parts.count("s")
    assert song.tempo == pytest.approx(120, abs=1)
    phase = beat_phase_channels(song.beats, song.onset, song.num_frames)
    frames = slice(round(30 * silent[0]) + 6, round(30 * silent[1]) - 6)
    assert not phase[frames, :2].any()
    assert phase[:, 3].all()
    found = beats_of(phase)
    assert not ((found > silent[0] + 0.15) & (found < silent[1] - 0.15)).any()
    for beat in song.beats:
        assert np.abs(found - beat).min() < 0.02


def test_a_rest_is_part_of_the_music() -> None:
    beats = np.arange(0, 10, 0.75)
    samples = np.zeros(10 * SAMPLE_RATE)
    for beat in beats:
        at = round(beat * SAMPLE_RATE)
        samples[at : at + 1500] = 0.5 * np.sin(np.arange(1500))[: len(samples) - at]
    levels = frame_levels(samples.astype(np.float32), SAMPLE_RATE, 512)
    assert len(stretches_of_sound(levels, 30)) == 1


def test_the_level_is_that_of_what_moves() -> None:
    t = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = (0.1 * np.sin(2 * np.pi * 440 * t) + 0.5).astype(np.float32)
    levels = frame_levels(tone, SAMPLE_RATE, 512)
    assert levels.shape == (31,)
    np.testing.assert_allclose(levels[4:-4], -23, atol=0.3)
    assert frame_levels(np.zeros(0, np.float32), SAMPLE_RATE, 512).tolist() == [-np.inf]
    assert stretches_of_sound(np.full(40, -np.inf), 30) == []


def test_a_pause_does_not_slow_the_tempo() -> None:
    beats = np.concatenate([np.arange(0, 10, 0.5), np.arange(20, 30, 0.5)])
    assert tempo_of(beats) == pytest.approx(120)
