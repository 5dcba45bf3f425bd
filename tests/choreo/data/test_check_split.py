import json
from pathlib import Path

import numpy as np
import pytest
from dataset_files import write_humanml3d

from choreo.data.check_split import check_split, family_shares, main
from choreo.data.datasets import open_dataset
from choreo.data.splits.split import Split


def data_set(root: Path) -> Path:
    """Three takes; the test side is a copy of the training side."""
    write_humanml3d(root, ("000001", "000002", "000003"))
    np.save(root / "new_joints" / "000003.npy", np.load(root / "new_joints" / "000001.npy"))
    for side, name in (("train", "000001"), ("val", "000002"), ("test", "000003")):
        (root / f"{side}.txt").write_text(name)
    return root


def test_copies_are_found_and_other_takes_are_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(data_set(tmp_path))]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["split"] == "published"
    assert document["shared_groups"] == {}
    assert document["leaks"]["val"]["total"] == 0
    assert document["leaks"]["test"]["total"] > 0.9
    assert document["leaks"]["test"]["families"]["humanml3d"] > 0.9
    longest = document["leaks"]["test"]["longest"][0]
    assert (longest["key"], longest["other"]) == ("000003", "000001")


def test_a_shared_take_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data_set(tmp_path)
    (tmp_path / "new_joints" / "000003.npy").rename(tmp_path / "new_joints" / "M000001.npy")
    (tmp_path / "test.txt").write_text("M000001")
    assert main([str(tmp_path)]) == 1
    assert json.loads(capsys.readouterr().out)["shared_groups"] == {"000001": ["train", "test"]}


def test_no_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "none of the known layouts" in capsys.readouterr().err


def test_clips_on_no_side_and_keys_without_clips_do_not_matter(tmp_path: Path) -> None:
    clips = list(open_dataset(data_set(tmp_path)))
    check = check_split(Split({"train": ("000001", "gone"), "val": ("000002",)}, "published"), clips)
    assert check.shared == {}
    assert family_shares(check.leaks["val"], clips) == {"humanml3d": 0.0}
