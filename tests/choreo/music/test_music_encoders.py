"""Encoders and features from outside."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests_data import data_pack

from choreo.errors import InvalidInput
from choreo.music.audio import Audio, decode_audio
from choreo.music.encoded import load_features, precomputed
from choreo.music.encoders import Dsp35Encoder, music_encoder
from choreo.music.features import BEAT, dsp35
from choreo.music.synth import synthesize_song


def song(seconds: float = 6.0) -> Audio:
    samples, rate, _ = synthesize_song(120, seconds)
    return Audio(samples, rate, len(samples) / rate, "digest")


def npy(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


def npy_claiming(header: str, data: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def test_the_default_encoder_is_consistent_with_its_columns() -> None:
    encoder = music_encoder("dsp35")
    audio = song()
    music = encoder.encode(audio)
    assert (encoder.name, encoder.dim, encoder.sample_rate) == ("dsp35", 35, 22_050)
    np.testing.assert_array_equal(music.features, dsp35(audio, music.beats))
    np.testing.assert_array_equal(np.rint(music.beats * 30), np.flatnonzero(music.features[:, BEAT]))
    assert music.tempo == pytest.approx(120, rel=0.02)
    assert music.onset.shape == (music.num_frames,) == (180,)
    assert (music.onset.min(), music.onset.max()) == (0, 1)
    assert (music.encoder, music.digest) == ("dsp35", "digest")


def test_an_unknown_encoder_is_refused() -> None:
    with pytest.raises(InvalidInput, match="dsp35 or jukebox") as caught:
        music_encoder("mp3")
    assert caught.value.field == "music_encoder"


def test_precomputed_features_equal_the_encoded_song() -> None:
    music = Dsp35Encoder().encode(song())
    again = precomputed(music.features, expected_dim=35)
    np.testing.assert_array_equal(again.features, music.features)
    np.testing.assert_allclose(again.beats, music.beats, atol=1 / 60 + 1e-6)  # the column has frames
    np.testing.assert_array_equal(again.onset, music.onset)
    assert again.tempo == pytest.approx(music.tempo, rel=0.02)
    assert (len(again.downbeats), again.beat_confidence) == (0, None)
    assert len(again.digest) == 64
    assert precomputed(music.features.astype(np.float64)).digest == again.digest
    assert precomputed(music.features + 1).digest != again.digest


def test_wide_features_take_their_rhythm_from_the_song() -> None:
    wide = np.ones((200, 4800), np.float16)
    alone = precomputed(wide)
    assert (alone.encoder, len(alone.beats), alone.tempo, alone.onset.any()) == ("jukebox", 0, 0.0, False)
    with_song = precomputed(wide, audio=song(6))
    assert with_song.tempo == pytest.approx(120, rel=0.02)
    assert with_song.onset.shape == (200,)
    assert not with_song.onset[180:].any()
    assert with_song.digest == "digest"
    assert precomputed(wide[:90], audio=song(6)).beats.max() < 3


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((10, 36), np.float32), "shape"),
        (np.zeros(35, np.float32), "shape"),
        (np.zeros((0, 35), np.float32), "frames"),
        (np.zeros((108_001, 35), np.float32), "108000 frames"),
        (np.zeros((10, 35), np.int64), "float"),
        (np.full((10, 35), np.nan, np.float32), "NaN"),
        (np.full((10, 35), np.inf, np.float32), "NaN"),
        (np.full((10, 35), 1e300), "beyond"),
        (np.zeros((10, 4800), np.float32), "takes 35 columns"),
        ([[0.0] * 35], "array"),
    ],
)
def test_bad_arrays_are_refused_naming_the_field(array: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        precomputed(array, field="music", expected_dim=35)
    assert caught.value.field == "music"


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_features_load_from_bytes_and_files(tmp_path: Path, dtype: str, order: Any) -> None:
    array = np.random.default_rng(0).normal(size=(50, 35)).astype(dtype, order=order)
    path = tmp_path / "song.npy"
    np.save(path, array)
    for source in (path, path.read_bytes(), npy(array, (2, 0))):
        loaded = load_features(source)
        assert loaded.dtype == np.float32
        np.testing.assert_array_equal(loaded, array.astype(np.float32))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an .npy"),
        (b"PK\x03\x04" + b"\0" * 100, "not an .npy"),
        (npy(np.zeros((40, 35)))[:-1], "cut off"),
        (npy(np.zeros((40, 35))) + b"x", "cut off"),
        (npy(np.zeros((101, 35))), "100 frames"),
        (npy(np.array([{}], dtype=object)), "float"),
        (npy(np.zeros((4, 35), complex)), "float"),
        (npy(np.full((4, 35), np.nan)), "NaN"),
        (npy_claiming("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 35)}"), "frames"),
        (npy_claiming("{'descr': '<f4', 'fortran_order': False, 'shape': (100, 4800)}"), "cut off"),
        (npy_claiming("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 35)}"), "frames"),
        (npy_claiming("{'descr': '|O', 'fortran_order': False, 'shape': (10, 35)}", b"cos\nsystem\n"), "float"),
        (npy_claiming("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (10, 35)}"), "float"),
        (npy_claiming("__import__('os').abort()"), "not an .npy"),
        (npy_claiming("(" * 9000), "not an .npy"),
        (npy_claiming("{'descr': '<f4', 'fortran_order': False, 'shape': (10.5, 35)}"), "not an .npy"),
    ],
)
def test_hostile_npy_is_refused_before_its_data_is_read(data: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        load_features(data, field="music", max_frames=100)
    assert caught.value.field == "music"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no file"):
        load_features(tmp_path / "absent.npy")


@pytest.mark.data
@pytest.mark.parametrize(("name", "tempo"), [("loop_compus", 148.0), ("arovane_beat_d", 129.98)])
def test_a_real_loop_has_its_known_tempo(name: str, tempo: float) -> None:
    encoder = Dsp35Encoder()
    music = encoder.encode(decode_audio(data_pack() / "audio" / f"{name}.flac", sample_rate=encoder.sample_rate))
    assert min(abs(music.tempo / (tempo * octave) - 1) for octave in (0.5, 1, 2)) < 0.04
