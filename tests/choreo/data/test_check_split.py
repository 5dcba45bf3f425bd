import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from dataset_files import write_humanml3d
from typer.testing import CliRunner, Result

from choreo.data.check_split import check_split, family_shares, main
from choreo.data.datasets import open_dataset
from choreo.data.splits.split import Split


def data_set(root: Path) -> Path:
    """Three takes; the test part is a copy of the training part."""
    write_humanml3d(root, ("000001", "000002", "000003"))
    np.save(root / "new_joints" / "000003.npy", np.load(root / "new_joints" / "000001.npy"))
    for part, name in (("train", "000001"), ("val", "000002"), ("test", "000003")):
        (root / f"{part}.txt").write_text(name)
    return root


def run(folder: Path) -> Result:
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, [str(folder)])


def test_copies_are_found_and_other_takes_are_not(tmp_path: Path) -> None:
    done = run(data_set(tmp_path))
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["split"] == "published"
    assert document["shared_groups"] == {}
    assert document["leaks"]["val"]["total"] == 0
    assert document["leaks"]["test"]["total"] > 0.9
    assert document["leaks"]["test"]["families"]["humanml3d"] > 0.9
    longest = document["leaks"]["test"]["longest"][0]
    assert (longest["key"], longest["other"]) == ("000003", "000001")


def test_a_shared_take_fails(tmp_path: Path) -> None:
    data_set(tmp_path)
    (tmp_path / "new_joints" / "000003.npy").rename(tmp_path / "new_joints" / "M000001.npy")
    (tmp_path / "test.txt").write_text("M000001")
    done = run(tmp_path)
    assert done.exit_code == 1
    assert json.loads(done.stdout)["shared_groups"] == {"000001": ["train", "test"]}


def test_no_data_set(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "choreo.data.check_split", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "none of the known layouts" in done.stderr


@pytest.mark.parametrize("shared", [False, True])
def test_the_command_line_has_the_same_check(tmp_path: Path, shared: bool) -> None:
    from serving.cli.main import app

    data_set(tmp_path)
    if shared:
        (tmp_path / "new_joints" / "000003.npy").rename(tmp_path / "new_joints" / "M000001.npy")
        (tmp_path / "test.txt").write_text("M000001")
    done = CliRunner().invoke(app, ["data", "check-split", str(tmp_path)])
    assert done.exit_code == shared
    assert ("000001 is in train and test" in done.stdout) == shared
    assert "val: 0.0% of the frames are near-identical to training motion" in done.stdout
    done = CliRunner().invoke(app, ["data", "check-split", str(tmp_path), "--json"])
    assert json.loads(done.stdout) == json.loads(run(tmp_path).stdout)


def test_clips_in_no_part_and_keys_without_clips_do_not_matter(tmp_path: Path) -> None:
    clips = list(open_dataset(data_set(tmp_path)))
    check = check_split(Split({"train": ("000001", "gone"), "val": ("000002",)}, "published"), clips)
    assert check.shared == {}
    assert family_shares(check.leaks["val"], clips) == {"humanml3d": 0.0}


def test_the_parts_of_one_take_are_compared_as_they_are_cut(tmp_path: Path) -> None:
    write_humanml3d(tmp_path, ("000001",))
    path = tmp_path / "new_joints" / "000001.npy"
    np.save(path, np.tile(np.load(path), (4, 1, 1)))
    done = run(tmp_path)
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["split"] == "cut"
    assert document["shared_groups"] == {}
    assert 0 < document["leaks"]["val"]["families"]["humanml3d"] == document["leaks"]["val"]["total"]
    assert document["leaks"]["test"]["total"] == 0
