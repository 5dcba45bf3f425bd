from pathlib import Path

import numpy as np
import pytest
import soundfile
from dataset_files import Z_UP, dance, shape, t_pose

from choreo.data.datasets import open_dataset
from choreo.motion.clip import Motion
from choreo.motion.formats.npz import write_npz
from choreo.motion.representation import decode
from choreo.motion.resample import resample


def write(root: Path, name: str = "waltz.1") -> None:
    write_npz(Motion(dance().astype(np.float32), meta={"licence": "cc0"}), root / f"{name}.npz")


def test_motion_with_captions_and_features(tmp_path: Path) -> None:
    write(tmp_path)
    features = np.zeros((len(dance()), 35), np.float32)
    features[::15, 34] = 1
    np.save(tmp_path / "waltz.1.dsp35.npy", features)
    (tmp_path / "waltz.1.txt").write_text("a person waltzes\n\nand turns#x#1#2\n")
    (clip,) = open_dataset(tmp_path)
    assert (clip.key, clip.group, clip.family, clip.licence) == ("waltz.1", "waltz.1", "npz", "cc0")
    assert [(c.text, c.start, c.end) for c in clip.captions] == [
        ("a person waltzes", 0, clip.num_frames),
        ("and turns", 30, 60),
    ]
    assert clip.music is not None
    np.testing.assert_array_equal(clip.music, features)
    assert clip.rhythm[15, 1] == 1  # phase 0 on a beat
    error = np.linalg.norm(shape(decode(clip.features)) - shape(dance()), axis=-1)
    assert error.mean() < 0.01


@pytest.mark.parametrize("more", [1, 3, -1, -4])
def test_features_that_are_a_few_frames_longer_or_shorter_are_cut_with_a_note(tmp_path: Path, more: int) -> None:
    write(tmp_path, "a")
    np.save(tmp_path / "a.dsp35.npy", np.zeros((len(dance()) + more, 35), np.float32))
    dataset = open_dataset(tmp_path)
    (clip,) = dataset
    assert clip.music is not None
    assert clip.num_frames == len(clip.music) == len(dance()) + min(more, 0)
    assert not dataset.skipped
    (note,) = dataset.notes
    assert (note.name, f"a.dsp35.npy has {len(dance()) + more}" in note.reason) == ("a", True)


def test_lengths_are_compared_in_seconds(tmp_path: Path) -> None:
    fast = resample(dance(), 30, 120)
    write_npz(Motion(fast.astype(np.float32), 120), tmp_path / "fast.npz")
    np.save(tmp_path / "fast.dsp35.npy", np.zeros((len(dance()), 35), np.float32))
    dataset = open_dataset(tmp_path)
    (clip,) = dataset
    assert clip.num_frames == len(dance())
    assert not dataset.skipped
    assert not dataset.notes


def test_features_of_another_length_are_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, "a")
    write(tmp_path, "b")
    np.save(tmp_path / "a.dsp35.npy", np.zeros((2 * len(dance()), 35), np.float32))
    dataset = open_dataset(tmp_path)
    assert [clip.key for clip in dataset] == ["b"]
    assert dataset.skipped[0].name == "a"
    assert f"a.dsp35.npy has {2 * len(dance())} frames" in dataset.skipped[0].reason
    assert "the motion lasts 3.00 s" in dataset.skipped[0].reason


def test_a_pose_before_the_dance_moves_music_and_captions(tmp_path: Path) -> None:
    held = np.repeat(t_pose()[None], 30, axis=0)
    write_npz(Motion(np.concatenate([held, dance()]).astype(np.float32)), tmp_path / "a.npz")
    features = np.zeros((30 + len(dance()), 35), np.float32)
    features[45, 34] = 1
    np.save(tmp_path / "a.dsp35.npy", features)
    (tmp_path / "a.txt").write_text("and turns#x#2#3\n")
    dataset = open_dataset(tmp_path)
    (clip,) = dataset
    assert clip.music is not None
    assert clip.num_frames == len(clip.music) == len(dance())
    assert clip.music[15, 34] == 1
    assert [(c.start, c.end) for c in clip.captions] == [(30, 60)]
    assert "1.00 s of a calibration pose" in dataset.notes[0].reason


def test_a_dance_with_z_up_is_turned_with_a_note(tmp_path: Path) -> None:
    write_npz(Motion((dance() @ Z_UP.T).astype(np.float32)), tmp_path / "a.npz")
    for up in ("auto", "z"):
        dataset = open_dataset(tmp_path, up=up)
        (clip,) = dataset
        error = np.linalg.norm(shape(decode(clip.features)) - shape(dance()), axis=-1)
        assert error.mean() < 0.01
        assert "z is up" in dataset.notes[0].reason


def test_audio_beside_the_motion_is_its_music(tmp_path: Path) -> None:
    write(tmp_path)
    soundfile.write(tmp_path / "waltz.1.wav", np.random.default_rng(0).normal(0, 0.1, 4 * 16000), 16000)
    (clip,) = open_dataset(tmp_path)
    assert clip.music is not None
    assert clip.music.shape == (clip.num_frames, 35)
    (tmp_path / "waltz.1.wav").write_bytes(b"not audio at all")
    dataset = open_dataset(tmp_path)
    assert not list(dataset)
    assert "waltz.1.wav" in dataset.skipped[0].reason


def test_captions_and_features_without_motion_are_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "other.txt").write_text("x")
    np.save(tmp_path / "another.dsp35.npy", np.zeros((3, 35)))
    assert {s.name for s in open_dataset(tmp_path).skipped} == {"other.txt", "another.dsp35.npy"}
