"""Music features on disk: computed once for each song, whatever happens to the folder."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.music.audio import Audio
from choreo.music.encoded import MusicFeatures, precomputed
from choreo.music.encoders import Dsp35Encoder
from choreo.music.feature_cache import CachedEncoder, training_encoder
from choreo.music.synth import synthesize_song


class FakeWideEncoder:
    """4800 columns that say how often it was asked."""

    name, dim, sample_rate, tracker = "jukebox", 4800, 22_050, "beatnet"

    def __init__(self) -> None:
        self.asked = 0

    def encode(self, audio: Audio) -> MusicFeatures:
        self.asked += 1
        return precomputed(np.full((audio.num_frames, self.dim), self.asked, np.float32), audio=audio)

    def close(self) -> None:
        pass


def song(seed: int = 0) -> Audio:
    samples, rate, _ = synthesize_song(120, 3.0, seed)
    return Audio(samples, rate, 3.0, "digest")


@pytest.fixture
def encoder() -> FakeWideEncoder:
    return FakeWideEncoder()


def test_a_song_is_encoded_once(encoder: FakeWideEncoder, tmp_path: Path) -> None:
    first = CachedEncoder(encoder, tmp_path / "new" / "folder").encode(song())
    again = CachedEncoder(encoder, tmp_path / "new" / "folder").encode(song())
    assert encoder.asked == 1
    np.testing.assert_array_equal(again.features, first.features)
    np.testing.assert_array_equal(again.onset, first.onset)
    np.testing.assert_array_equal(again.beats, first.beats)
    assert len(again.beats) > 2
    assert (again.tempo, again.encoder, again.digest) == (first.tempo, "jukebox", "digest")


def test_another_song_or_version_is_another_entry(encoder: FakeWideEncoder, tmp_path: Path) -> None:
    cached = CachedEncoder(encoder, tmp_path, "1")
    cached.encode(song())
    cached.encode(song(seed=1))
    CachedEncoder(encoder, tmp_path, "2").encode(song())
    assert encoder.asked == 3
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    "spoil", [lambda path: path.write_bytes(path.read_bytes()[:1000]), lambda path: np.save(path, np.zeros((90, 35)))]
)
def test_a_broken_file_is_replaced(
    encoder: FakeWideEncoder, tmp_path: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    cached = CachedEncoder(encoder, tmp_path)
    cached.encode(song())
    (path,) = tmp_path.iterdir()
    spoil(path)
    assert cached.encode(song()).features[0, 0] == 2
    assert "broken" in caplog.text
    assert cached.encode(song()).features[0, 0] == 2


def test_a_folder_that_cannot_be_written_only_costs_time(
    encoder: FakeWideEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        assert CachedEncoder(encoder, tmp_path / "file").encode(song()).num_frames == 90
    assert "not cached" in caplog.text


def test_training_caches_what_takes_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHOREO_MUSIC_CACHE", str(tmp_path))
    assert isinstance(training_encoder("dsp35"), Dsp35Encoder)
    assert training_encoder("dsp35", "librosa").tracker == "librosa"
    jukebox = training_encoder("jukebox", "librosa")
    assert jukebox.tracker == "librosa"
    assert isinstance(jukebox, CachedEncoder)
    assert (jukebox.name, jukebox.dim, jukebox.sample_rate, jukebox._folder) == ("jukebox", 4800, 44_100, tmp_path)
    with pytest.raises(InvalidInput, match="music_encoder"):
        training_encoder("mp3")
