"""Music of a data set by another encoder than the default: from files beside it, or computed."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from dataset_files import AIST_NAME, dance, write_aist

from choreo.data.datasets import open_dataset
from choreo.errors import MissingDependency
from choreo.motion.clip import Motion
from choreo.motion.formats.npz import write_npz
from choreo.music.audio import Audio
from choreo.music.encoded import MusicFeatures, precomputed

FRAMES = len(dance())


class FakeWideEncoder:
    """4800 columns that hold the sampling rate of the song."""

    name, dim, sample_rate, tracker = "jukebox", 4800, 44_100, "beatnet"

    def encode(self, audio: Audio) -> MusicFeatures:
        return precomputed(np.full((audio.num_frames, self.dim), audio.sample_rate, np.float32), audio=audio)

    def close(self) -> None:
        pass


class FakeAbsentEncoder(FakeWideEncoder):
    """An encoder whose weights are not there."""

    def encode(self, audio: Audio) -> MusicFeatures:
        raise MissingDependency("no weights")


def write_motion(root: Path, name: str = "waltz.1") -> None:
    write_npz(Motion(dance().astype(np.float32), meta={"licence": "cc0"}), root / f"{name}.npz")


def write_clicks(path: Path, seconds: float = 4.0) -> None:
    click = np.zeros(round(seconds * 22050), np.float32)
    click[::11025] = 1
    soundfile.write(path, click, 22050)


def write_dsp35(path: Path, frames: int = FRAMES) -> None:
    columns = np.zeros((frames, 35), np.float32)
    columns[::15, 34] = 1
    columns[::15, 0] = 5
    np.save(path, columns)


def test_features_are_computed_at_the_encoders_own_rate(tmp_path: Path) -> None:
    write_motion(tmp_path)
    write_clicks(tmp_path / "waltz.1.wav")
    (clip,), (default,) = open_dataset(tmp_path, FakeWideEncoder()), open_dataset(tmp_path)
    assert clip.music is not None
    assert clip.music.shape == (FRAMES, 4800)
    assert (clip.music == 44_100).all()
    assert clip.rhythm[:, :2].any()
    np.testing.assert_allclose(clip.rhythm, default.rhythm, atol=0.05)  # of one song, decoded at two rates


def test_files_beside_the_audio_go_before_what_would_be_computed(tmp_path: Path) -> None:
    write_aist(tmp_path)
    (tmp_path / "music").mkdir()
    write_clicks(tmp_path / "music" / "mBR0.wav", 5.0)
    features = np.random.default_rng(0).normal(size=(150, 4800)).astype(np.float16)
    np.save(tmp_path / "music" / "mBR0.jukebox.npy", features)
    (clip,) = open_dataset(tmp_path, FakeAbsentEncoder())
    assert clip.music is not None
    np.testing.assert_array_equal(clip.music, features[: clip.num_frames].astype(np.float32))
    assert clip.rhythm[:, 0].any()
    (tmp_path / "music" / "mBR0.jukebox.npy").unlink()
    with pytest.raises(MissingDependency):
        list(open_dataset(tmp_path, FakeAbsentEncoder()))


def test_without_audio_beats_are_those_of_the_default_features(tmp_path: Path) -> None:
    write_motion(tmp_path)
    np.save(tmp_path / "waltz.1.jukebox.npy", np.ones((FRAMES, 4800), np.float32))
    (clip,) = open_dataset(tmp_path, FakeAbsentEncoder())
    assert clip.music is not None
    assert not clip.rhythm[:, :3].any()
    write_dsp35(tmp_path / "waltz.1.dsp35.npy")
    (clip,), (default,) = open_dataset(tmp_path, FakeAbsentEncoder()), open_dataset(tmp_path)
    np.testing.assert_array_equal(clip.rhythm, default.rhythm)
    assert clip.rhythm[15, 1:3].tolist() == [1, 1]


def test_files_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    write_motion(tmp_path)
    path = tmp_path / "waltz.1.jukebox.npy"
    for columns, reason in (
        (np.zeros((FRAMES, 35), np.float32), "takes 4800 columns, got 35"),
        (np.zeros((FRAMES + 60, 4800), np.float32), f"{path.name} has {FRAMES + 60} frames"),
    ):
        np.save(path, columns)
        dataset = open_dataset(tmp_path, FakeWideEncoder())
        assert not list(dataset)
        assert reason in dataset.skipped[0].reason
        assert path.name in dataset.skipped[0].reason
    np.save(tmp_path / "another.jukebox.npy", np.zeros((3, 4800), np.float32))
    assert "another.jukebox.npy" in {s.name for s in open_dataset(tmp_path, FakeWideEncoder()).skipped}


def test_music_that_only_the_default_encoder_knows_is_left_out_and_named(tmp_path: Path) -> None:
    write_motion(tmp_path)
    write_dsp35(tmp_path / "waltz.1.dsp35.npy")
    dataset = open_dataset(tmp_path, FakeWideEncoder())
    (clip,) = dataset
    assert clip.music is None
    (skipped,) = dataset.skipped
    assert (skipped.name, "waltz.1.jukebox.npy is missing" in skipped.reason) == ("waltz.1", True)


def test_the_data_packs_music_by_another_encoder(tmp_path: Path) -> None:
    rows = np.rint(dance() * 1000).astype(np.int16)
    for name in ("motion", "music"):
        (tmp_path / name).mkdir()
    np.savez(tmp_path / "motion/cmu.npz", **{"05_01": rows})
    np.savez(tmp_path / "motion/tang.npz", W_1_s0=rows)
    known = {"W_1_s0": np.zeros((len(rows), 35), np.float16), "W_1_s0/beats": np.arange(0, 3, 0.5)}
    np.savez(tmp_path / "music/tang_features.npz", **known)
    (tmp_path / "captions.csv").write_text("clip,start_s,end_s,source,split,caption\n")
    dataset = open_dataset(tmp_path, FakeWideEncoder())
    assert [clip.music for clip in dataset] == [None, None]
    assert [s.name for s in dataset.skipped] == ["W_1_s0"]
    np.save(tmp_path / "music/W_1_s0.jukebox.npy", np.ones((len(rows), 4800), np.float32))
    (_, waltz), (_, default) = open_dataset(tmp_path, FakeWideEncoder()), open_dataset(tmp_path)
    assert waltz.music is not None
    assert waltz.music.shape == (len(rows), 4800)
    np.testing.assert_array_equal(waltz.rhythm, default.rhythm)


def test_names_are_looked_for_in_order(tmp_path: Path) -> None:
    write_aist(tmp_path)
    (tmp_path / "music").mkdir()
    for name, value in (("mBR0", 1), (AIST_NAME, 2)):
        np.save(tmp_path / "music" / f"{name}.jukebox.npy", np.full((150, 4800), value, np.float32))
    (clip,) = open_dataset(tmp_path, FakeAbsentEncoder())
    assert clip.music is not None
    assert clip.music[0, 0] == 2


def test_songs_are_found_in_any_case_and_what_is_not_used_is_remarked(tmp_path: Path) -> None:
    write_motion(tmp_path)
    write_clicks(tmp_path / "waltz.1.wav", 40.0)
    whole = (tmp_path / "waltz.1.wav").read_bytes()
    (tmp_path / "waltz.1.wav").rename(tmp_path / "waltz.1.WAV").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "waltz.1.mp3").write_bytes(b"another")
    dataset = open_dataset(tmp_path)
    (clip,) = dataset
    assert clip.music is not None
    reasons = [skipped.reason for skipped in dataset.skipped]
    assert reasons[0] == "waltz.1.mp3 is not used: waltz.1.WAV is its song"
    assert "20.0 s were found, its file says 40.0 s" in reasons[1]
