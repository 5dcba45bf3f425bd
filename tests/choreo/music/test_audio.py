"""Decoding: every format in, everything hostile out, and the resampled song equal to librosa's."""

import contextlib
import io
import math
import resource
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from choreo.errors import InvalidInput
from choreo.music.audio import SAMPLE_RATE, Audio, decode_audio
from choreo.music.compiling import load_librosa
from choreo.music.limits import MAX_SOURCE_BYTES


def tone(seconds: float = 1.0, rate: int = 44_100, channels: int = 1) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    return np.stack([0.5 * np.sin(2 * np.pi * 220 * (c + 1) * t) for c in range(channels)], axis=1)


def noise(seconds: float = 1.0, rate: int = 44_100, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (int(seconds * rate), channels)).astype(np.float32)


def encoded(samples: np.ndarray, rate: int = 44_100, form: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype=subtype)
    return file.getvalue()


def flac_claiming(total: int, seconds: float = 1.0) -> bytes:
    """A FLAC whose STREAMINFO claims `total` samples (the low 36 bits of bytes 18 to 25)."""
    data = bytearray(encoded(tone(seconds), form="FLAC"))
    fields = int.from_bytes(data[18:26], "big") >> 36 << 36 | total
    data[18:26] = fields.to_bytes(8, "big")
    return bytes(data)


def wav_claiming(size: int) -> bytes:
    data = bytearray(encoded(tone()))
    at = data.index(b"data") + 4
    data[at : at + 4] = size.to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("form", "subtype"), [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", None), ("OGG", "VORBIS"), ("MP3", None)]
)
def test_every_format_comes_back_from_a_file(tmp_path: Path, form: str, subtype: str | None) -> None:
    path = tmp_path / "song"
    soundfile.write(path, tone(2.0, channels=2), 44_100, format=form, subtype=subtype)
    audio = decode_audio(path)
    assert audio.sample_rate == SAMPLE_RATE
    assert audio.samples.dtype == np.float32
    assert audio.samples.ndim == 1
    assert audio.seconds == pytest.approx(2.0, abs=0.01)
    assert len(audio.samples) == math.ceil(audio.seconds * SAMPLE_RATE)
    expected = decode_audio(encoded(tone(2.0, channels=2))).samples
    middle = slice(SAMPLE_RATE // 2, 3 * SAMPLE_RATE // 2)
    assert np.corrcoef(audio.samples[middle], expected[middle])[0, 1] > 0.98


@pytest.mark.parametrize("rate", [8_000, 15_360, 22_050, 44_100, 48_000])
def test_streaming_resampler_equals_librosa(rate: int) -> None:
    stereo = noise(12.3, rate, 2)
    data = encoded(stereo, rate, subtype="FLOAT")
    audio = decode_audio(data)
    expected = load_librosa().resample(stereo.mean(axis=1), orig_sr=rate, target_sr=SAMPLE_RATE, res_type="soxr_hq")
    assert audio.samples.shape == expected.shape
    np.testing.assert_allclose(audio.samples, expected, atol=1e-6)
    np.testing.assert_allclose(decode_audio(data, sample_rate=rate).samples, stereo.mean(axis=1), atol=1e-7)


def test_resampling_a_decoded_song_keeps_its_identity_and_duration() -> None:
    audio = decode_audio(encoded(tone(1.5)), sample_rate=44_100)
    assert audio.at(44_100) is audio
    lower = audio.at(SAMPLE_RATE)
    assert (lower.seconds, lower.sha256, lower.num_frames) == (audio.seconds, audio.sha256, 45)
    np.testing.assert_allclose(lower.samples, decode_audio(encoded(tone(1.5))).samples, atol=1e-6)


def test_silence_is_a_song() -> None:
    audio = decode_audio(encoded(np.zeros((44_100, 1))))
    assert not audio.samples.any()
    assert audio.num_frames == 30


def test_the_digest_is_of_the_source_bytes() -> None:
    wav, flac = encoded(tone()), encoded(tone(), form="FLAC")
    assert decode_audio(wav).sha256 == decode_audio(wav).sha256 != decode_audio(flac).sha256


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"\0" * 5000, "not audio"),
        (b"RIFF\xff\xff\xff\xffWAVE", "not audio"),
        (b"ID3\x04" + b"\xff" * 500, "not audio"),
        (b"#!/bin/sh\nexit 1\n", "not audio"),
        (encoded(tone(0.05)), "shorter than 0.1 s"),
        (encoded(np.zeros((0, 1))), "no samples"),
        (encoded(np.full((44_100, 1), np.nan), subtype="FLOAT"), "NaN"),
        (encoded(np.full((44_100, 1), np.inf), subtype="FLOAT"), "NaN"),
        (encoded(np.full((44_100, 1), 1e30), subtype="FLOAT"), "large"),
        (encoded(tone(1, channels=17)), "16 channels"),
        (encoded(tone(1, 2_000), 2_000), "sampling rate"),
        (encoded(tone(0.2, 500_000), 500_000), "sampling rate"),
        (encoded(tone(3.1)), "limit of 3 s"),
        (encoded(tone(), form="AU"), "AU audio is not accepted"),
    ],
)
def test_hostile_audio_is_refused_naming_the_field(data: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        decode_audio(data, max_seconds=3, field="song")
    assert caught.value.field == "song"


@pytest.mark.parametrize("total", [0, 100, 44_100, 2 * 44_100, 2**36 - 1])
def test_what_a_flac_header_says_of_its_length_is_not_believed(total: int) -> None:
    audio = decode_audio(flac_claiming(total), max_seconds=3)
    assert audio.seconds == 1.0
    np.testing.assert_array_equal(audio.samples, decode_audio(flac_claiming(44_100)).samples)
    assert [note for note in audio.notes if "1.0 s were found" in note] == list(audio.notes)
    assert bool(audio.notes) == (total > 44_100)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_that_was_written_into_a_pipe_is_whole(size: int) -> None:
    audio = decode_audio(wav_claiming(size))
    assert (audio.seconds, audio.notes) == (pytest.approx(1.0, abs=0.001), ())


def test_files_that_cannot_be_songs_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.wav", tmp_path, Path("/dev/zero"), Path("bad\0name")):
        with pytest.raises(InvalidInput) as caught:
            decode_audio(path, field="song")
        assert caught.value.field == "song"
    huge = tmp_path / "huge.wav"
    with huge.open("wb") as file:
        file.truncate(MAX_SOURCE_BYTES + 10)
    with pytest.raises(InvalidInput, match="larger than 200 MB"):
        decode_audio(huge)


def test_a_wav_that_claims_gigabytes_costs_what_it_holds() -> None:
    data = wav_claiming(0xFFFFFFFF)
    tracemalloc.start()
    audio = decode_audio(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert audio.seconds == pytest.approx(1.0, abs=0.01)
    assert peak < 20e6


def test_a_compressed_bomb_is_refused_where_it_gets_too_long() -> None:
    # An hour of silence in a few hundred kilobytes.
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 8_000, 1, format="FLAC") as sound:
        for _ in range(60):
            sound.write(np.zeros(8_000 * 60))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InvalidInput, match="limit of 600 s"):
        decode_audio(file.getvalue())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@given(st.binary(max_size=400), st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS", b"ID3\x03", b"\xff\xfb\x90"]))
@settings(max_examples=60, deadline=None)
def test_noise_never_raises_anything_else(tail: bytes, magic: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        assert isinstance(decode_audio(magic + tail, max_seconds=5), Audio)


@given(st.integers(0, 20_000), st.binary(min_size=1, max_size=40), st.sampled_from(["WAV", "FLAC", "OGG", "MP3"]))
@settings(max_examples=60, deadline=None)
def test_damaged_files_never_raise_anything_else(at: int, damage: bytes, form: str) -> None:
    data = bytearray(encoded(tone(0.3), form=form))
    at %= len(data)
    data[at : at + len(damage)] = damage
    with contextlib.suppress(InvalidInput):
        assert np.isfinite(decode_audio(bytes(data), max_seconds=60).samples).all()


def test_audio_checks_its_own_invariants() -> None:
    with pytest.raises(ValueError, match="do not last"):
        Audio(np.zeros(100, np.float32), SAMPLE_RATE, 2.0, "")
    with pytest.raises(ValueError, match="float32"):
        Audio(np.zeros(SAMPLE_RATE), SAMPLE_RATE, 1.0, "")
