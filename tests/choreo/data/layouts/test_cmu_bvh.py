from pathlib import Path

import numpy as np
import pytest
from dataset_files import dance, shape, t_pose, write_cmu

from choreo.data.datasets import open_dataset
from choreo.data.layouts.cmu_bvh import UNITS, in_metres, without_t_pose
from choreo.errors import InvalidInput
from choreo.motion.representation import decode


def test_a_take_loses_its_t_pose_and_keeps_its_motion(tmp_path: Path) -> None:
    write_cmu(tmp_path)
    (clip,) = open_dataset(tmp_path)
    assert (clip.key, clip.group, clip.family, clip.licence) == ("05_02", "05_02", "05", "cmu-mocap")
    assert clip.num_frames == len(dance())
    error = np.linalg.norm(shape(decode(clip.features)) - shape(dance()), axis=-1)
    assert error.mean() < 0.01
    assert clip.residual < 0.01


@pytest.mark.parametrize("unit", UNITS)
def test_units_are_told_from_the_legs(unit: float) -> None:
    np.testing.assert_allclose(in_metres(dance() / unit), dance(), rtol=1e-9)


def test_only_a_first_frame_that_no_body_could_leave_is_dropped() -> None:
    assert len(without_t_pose(dance(), 30)) == len(dance())
    with_t_pose = np.concatenate([t_pose()[None], dance()])
    assert len(without_t_pose(with_t_pose, 30)) == len(dance())
    assert len(without_t_pose(with_t_pose, 1)) == len(dance()) + 1
    assert len(without_t_pose(np.concatenate([dance()[40:41] + 1, dance()]), 120)) == len(dance()) + 1
    assert len(without_t_pose(dance()[:1], 30)) == 1


def test_partners_share_their_take_and_descriptions_are_captions(tmp_path: Path) -> None:
    for name in ("60_02", "61_02", "18_03", "19_03"):
        write_cmu(tmp_path, name)
    (tmp_path / "cmu-mocap-index-text.txt").write_text("Subject #60 (salsa)\n60_02\tsalsa dance\nnonsense\n")
    dataset = open_dataset(tmp_path)
    assert {key: dataset.group_of(key) for key in dataset.keys} == {
        "18_03": "18_03",
        "19_03": "18_03",
        "60_02": "salsa_02",
        "61_02": "salsa_02",
    }
    (clip,) = dataset.clips(("60_02",))
    assert [c.text for c in clip.captions] == ["salsa dance"]
    assert clip.family == "salsa"


def test_broken_and_foreign_files_are_named(tmp_path: Path) -> None:
    write_cmu(tmp_path)
    write_cmu(tmp_path, "again/05_02")
    write_cmu(tmp_path, "walk")
    (tmp_path / "05_03.bvh").write_text("HIERARCHY\nROOT hip\n{\n")
    (tmp_path / "05_04.bvh").write_text((tmp_path / "05" / "05_02.bvh").read_text()[:-50])
    dataset = open_dataset(tmp_path)
    assert [clip.key for clip in dataset] == ["05_02"]
    reasons = {s.name: s.reason for s in dataset.skipped}
    assert sorted(reasons) == ["05_03", "05_04", "again/05_02.bvh", "walk.bvh"]
    assert "holds" in reasons["05_04"]


def test_a_folder_of_other_files_is_no_data_set(tmp_path: Path) -> None:
    write_cmu(tmp_path, "walk")
    with pytest.raises(InvalidInput, match="none of the known layouts"):
        open_dataset(tmp_path)
