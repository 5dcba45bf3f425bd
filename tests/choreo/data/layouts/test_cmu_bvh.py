from pathlib import Path

import numpy as np
import pytest
from dataset_files import Z_UP, dance, shape, write_cmu

from choreo.data.datasets import open_dataset
from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.bvh import write_bvh
from choreo.motion.representation import decode


def test_a_take_loses_its_t_pose_and_keeps_its_motion(tmp_path: Path) -> None:
    write_cmu(tmp_path)
    (clip,) = open_dataset(tmp_path)
    assert (clip.key, clip.group, clip.family, clip.licence) == ("05_02", "05_02", "05", "cmu-mocap")
    assert clip.num_frames == len(dance())
    error = np.linalg.norm(shape(decode(clip.features)) - shape(dance()), axis=-1)
    assert error.mean() < 0.01
    assert clip.residual < 0.01


@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_a_take_that_came_back_from_another_program_is_upright_and_human(tmp_path: Path, scale: float) -> None:
    write_cmu(tmp_path, scale=scale)
    (clip,) = open_dataset(tmp_path)
    lying = (dance() @ Z_UP.T).astype(np.float32)
    write_bvh(Motion(lying), tmp_path / "05" / "05_02.bvh")
    dataset = open_dataset(tmp_path, up="z")
    (turned,) = dataset
    error = np.linalg.norm(shape(decode(turned.features)) - shape(decode(clip.features)), axis=-1)
    assert error.mean() < 0.01
    assert "z is up" in dataset.notes[0].reason


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
