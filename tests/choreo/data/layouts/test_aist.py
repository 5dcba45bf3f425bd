from pathlib import Path

import numpy as np
import pytest
import soundfile
from dataset_files import AIST_NAME, aist_motion, coco_keypoints, dance, shape, write_aist, write_pickle

from choreo.data.datasets import open_dataset
from choreo.data.layouts.aist import positions_of_keypoints, positions_of_motion
from choreo.motion.representation import decode
from choreo.motion.resample import resample
from choreo.motion.skeleton import HEAD, PELVIS


def test_smpl_poses_become_the_motion_they_are_of(tmp_path: Path) -> None:
    write_aist(tmp_path)
    (clip,) = open_dataset(tmp_path)
    assert (clip.key, clip.group, clip.family) == (AIST_NAME, "mBR0", "break")
    assert clip.captions[0].text == "a person dances break"
    assert (clip.captions[0].start, clip.captions[0].end) == (0, clip.num_frames)
    out = decode(clip.features)
    assert abs(len(out) - len(dance())) <= 1
    error = np.linalg.norm(shape(out) - shape(dance()[: len(out)]), axis=-1)
    assert error.mean() < 0.01
    assert clip.residual < 0.01
    assert np.abs((out - dance()[: len(out)])[:, PELVIS, 1]).mean() < 0.02  # the model's origin has gone
    assert not clip.rhythm.any()
    assert clip.music is None


def test_y_is_up_and_lengths_are_over_the_scaling() -> None:
    positions = positions_of_motion({k: np.asarray(v) for k, v in aist_motion(dance()).items()}, "x")
    height = (positions[:, HEAD] - positions[:, PELVIS])[:, 1]
    assert 0.4 < height.mean() < 0.75
    travel = np.ptp(positions[:, PELVIS], axis=0)
    np.testing.assert_allclose(travel, np.ptp(dance()[:, PELVIS], axis=0), atol=0.02)


@pytest.mark.parametrize("name", ["keypoints3d", "keypoints3d_optim"])
def test_keypoints_serve_where_there_is_no_fit(tmp_path: Path, name: str) -> None:
    keypoints = 100 * coco_keypoints(resample(dance(), 30, 60))
    write_pickle(tmp_path / "keypoints3d" / f"{AIST_NAME}.pkl", {name: keypoints.astype(np.float32)})
    (clip,) = open_dataset(tmp_path)
    out = decode(clip.features)
    error = np.linalg.norm(shape(out) - shape(dance()[: len(out)]), axis=-1)
    assert error.mean() < 0.05
    assert 0 < clip.residual < 0.06


def test_optimised_keypoints_are_preferred() -> None:
    good = 100 * coco_keypoints(dance())
    found = positions_of_keypoints({"keypoints3d": good * np.nan, "keypoints3d_optim": good}, "x")
    assert np.isfinite(found).all()


def test_the_song_is_the_sequences_own_or_the_songs(tmp_path: Path) -> None:
    write_aist(tmp_path)
    (tmp_path / "music").mkdir()
    click = np.zeros(5 * 22050, np.float32)
    click[::11025] = 1
    soundfile.write(tmp_path / "music" / "mBR0.wav", click, 22050)
    (clip,) = open_dataset(tmp_path)
    assert clip.music is not None
    assert clip.music.shape == (clip.num_frames, 35)
    assert clip.rhythm[:, 3].all()
    assert clip.rhythm[:, 0].any()


def test_a_song_that_ends_early_is_named(tmp_path: Path) -> None:
    write_aist(tmp_path)
    (tmp_path / "music").mkdir()
    soundfile.write(tmp_path / "music" / f"{AIST_NAME}.wav", np.zeros(22050, np.float32), 22050)
    dataset = open_dataset(tmp_path)
    assert list(dataset) == []
    assert dataset.skipped[0].name == AIST_NAME
    assert "music features of 30 frames" in dataset.skipped[0].reason


def test_published_cross_modal_split(tmp_path: Path) -> None:
    names = tuple(f"gBR_sBM_cAll_d04_mBR{n}_ch01" for n in range(5))
    write_aist(tmp_path, names)
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "crossmodal_train.txt").write_text(f"{names[0]}\n{names[1]}\ngone_from_disk\n")
    (tmp_path / "splits" / "crossmodal_val.txt").write_text(names[2])
    (tmp_path / "splits" / "crossmodal_test.txt").write_text(f"{names[3]}\n\n")
    split = open_dataset(tmp_path).split()
    assert split.origin == "published"
    assert split.parts == {"train": names[:2], "val": names[2:3], "test": names[3:4]}
    (tmp_path / "splits" / "crossmodal_test.txt").write_text("")
    assert open_dataset(tmp_path).split().parts == {"train": names[:2], "val": names[2:3], "test": ()}


def test_the_ignore_list_and_other_names_are_left_out(tmp_path: Path) -> None:
    other = "gPO_sFM_cAll_d10_mPO1_ch02"
    write_aist(tmp_path, (AIST_NAME, other, "gXX_sFM_cAll_d10_mPO1_ch02", "something"))
    (tmp_path / "ignore_list.txt").write_text(f"{other}\n")
    dataset = open_dataset(tmp_path)
    assert dataset.keys == (AIST_NAME,)
    assert {s.name: s.reason for s in dataset.skipped}[other] == "is on the data set's own ignore list"
    assert len(dataset.skipped) == 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"smpl_poses": np.zeros((10, 66))}, "smpl_poses of shape"),
        ({"smpl_trans": np.zeros((3, 3))}, "translations of shape"),
        ({"smpl_scaling": np.array([0.0])}, "not one positive number"),
        ({"smpl_poses": np.full((179, 72), np.nan)}, "NaN"),
        ({"smpl_trans": "text"}, "has no smpl_trans"),
    ],
)
def test_bad_files_are_named_with_the_reason(tmp_path: Path, change: dict, reason: str) -> None:
    write_aist(tmp_path)
    bad = "gPO_sFM_cAll_d10_mPO1_ch02"
    write_pickle(tmp_path / "motions" / f"{bad}.pkl", aist_motion(dance()) | change)
    dataset = open_dataset(tmp_path)
    assert [clip.key for clip in dataset] == [AIST_NAME]
    assert [s.name for s in dataset.skipped] == [bad]
    assert reason in dataset.skipped[0].reason
