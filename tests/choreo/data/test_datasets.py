import os
from pathlib import Path

import numpy as np
import pytest
from dataset_files import AIST_NAME, dance, write_aist, write_amass, write_cmu, write_humanml3d
from tests_data import data_pack

from choreo.data.clip import Clip
from choreo.data.datasets import open_dataset
from choreo.data.layouts.packs import is_validation
from choreo.data.layouts.recording import Recording, Sentence, Song, to_clip
from choreo.errors import InvalidInput


def test_layouts_are_recognised(tmp_path: Path) -> None:
    for write, name in (
        (write_aist, "aist++"),
        (write_humanml3d, "humanml3d"),
        (write_amass, "amass"),
        (write_cmu, "cmu-bvh"),
    ):
        write(tmp_path / name)
        dataset = open_dataset(tmp_path / name)
        assert dataset.name == name
        assert len(dataset) == 1


def test_folders_without_a_data_set_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a folder"):
        open_dataset(tmp_path / "absent")
    with pytest.raises(InvalidInput, match=r"none of the known layouts \(data-pack, aist"):
        open_dataset(tmp_path)
    write_aist(tmp_path, ("nonsense",))
    with pytest.raises(InvalidInput, match="nothing in it can be loaded: nonsense"):
        open_dataset(tmp_path)


def test_clips_are_read_one_at_a_time_with_progress(tmp_path: Path) -> None:
    write_humanml3d(tmp_path, ("000001", "000002"))
    seen: list[tuple[int, int, str]] = []
    dataset = open_dataset(tmp_path)
    clips = dataset.clips(progress=lambda done, total, key: seen.append((done, total, key)))
    assert seen == []
    next(clips)
    assert seen == [(0, 2, "000001")]
    (tmp_path / "new_joints" / "000002.npy").unlink()
    assert list(clips) == []
    assert dataset.skipped[0].name == "000002"
    assert "cannot be read" in dataset.skipped[0].reason


def test_asking_twice_lists_a_bad_file_once(tmp_path: Path) -> None:
    write_humanml3d(tmp_path)
    np.save(tmp_path / "new_joints" / "000002.npy", np.zeros(3))
    dataset = open_dataset(tmp_path)
    assert len(list(dataset)) == len(list(dataset)) == 1
    assert len(dataset.skipped) == 1


def test_a_program_in_a_data_set_is_listed_not_run(tmp_path: Path) -> None:
    write_aist(tmp_path)
    bad = "gPO_sFM_cAll_d10_mPO1_ch02"
    (tmp_path / "motions" / f"{bad}.pkl").write_bytes(b"cos\nsystem\n(S'touch " + bytes(tmp_path / "ran") + b"'\ntR.")
    dataset = open_dataset(tmp_path)
    assert [clip.key for clip in dataset] == [AIST_NAME]
    assert "os.system, which is not data" in dataset.skipped[0].reason
    assert not (tmp_path / "ran").exists()


def test_a_set_without_a_published_split_is_hashed_by_take(tmp_path: Path) -> None:
    for take in range(1, 25):
        (tmp_path / f"60_{take:02}.bvh").touch()
        (tmp_path / f"61_{take:02}.bvh").touch()
    dataset = open_dataset(tmp_path)
    split = dataset.split(seed=1)
    assert split.origin == "hash"
    for take in range(1, 25):
        assert all((f"60_{take:02}" in keys) == (f"61_{take:02}" in keys) for keys in split.parts.values())


@pytest.mark.data
def test_the_data_pack_is_a_data_set_too() -> None:
    dataset = open_dataset(data_pack())
    assert dataset.name == "data-pack"
    (clip,) = dataset.clips(("C_2_s0",))
    assert isinstance(clip, Clip)
    assert clip.music is not None
    assert clip.music.shape == (clip.num_frames, 35)
    assert clip.captions
    split = dataset.split()
    assert split.parts["val"] == tuple(key for key in dataset.keys if is_validation(dataset.group_of(key)))


def recording(**changes: object) -> Recording:
    given = {"key": "k", "group": "g", "family": "f", "positions": dance(), "fps": 30.0, "licence": "cc0"} | changes
    return Recording(**given)  # type: ignore[arg-type]


def test_captions_are_cut_to_the_motion() -> None:
    sentences = (Sentence("whole"), Sentence("late", 90.0, 95.0), Sentence("tail", 2.0, 1e9))
    captions = to_clip(recording(sentences=sentences)).captions
    assert [(c.text, c.start, c.end) for c in captions] == [("whole", 0, len(dance())), ("tail", 60, len(dance()))]


def test_motion_is_cut_to_a_song_that_ends_a_little_early() -> None:
    frames = len(dance()) - 10
    song = Song(np.zeros((frames, 35), np.float32), np.arange(3.0), np.zeros(frames, np.float32))
    clip = to_clip(recording(song=song))
    assert clip.num_frames == len(dance()) - 10
    assert clip.music is not None
    assert len(clip.music) == len(clip.rhythm) == clip.num_frames


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"positions": np.full((60, 22, 3), np.nan)}, "NaN"),
        ({"positions": dance() * 100}, "legs of"),
        ({"positions": dance()[:10]}, r"at least 0\.5 s"),
        ({"song": Song(np.zeros((10, 35), np.float32), np.zeros(0), np.zeros(10, np.float32))}, "of 10 frames"),
        ({"song": Song(np.zeros(90, np.float32), np.zeros(0), np.zeros(90, np.float32))}, "shape"),
    ],
)
def test_recordings_that_cannot_be_used_are_refused(changes: dict, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as caught:
        to_clip(recording(**changes))
    assert caught.value.field == "k"


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    write_humanml3d(tmp_path)
    os.mkfifo(tmp_path / "new_joints" / "000002.npy")
    assert open_dataset(tmp_path).keys == ("000001",)
