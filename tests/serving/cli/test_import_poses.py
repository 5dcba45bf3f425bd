"""`choreo data import-poses` as a user meets it."""

import json
import subprocess
import sys
from pathlib import Path

from pose_results import damaged, people, synthetic_couple, write_results

from choreo.data.layouts.couples import read_couple


def import_poses(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "serving.cli.main", "data", "import-poses", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_results_become_a_data_set(tmp_path: Path) -> None:
    results = write_results(tmp_path / "r.json", people(damaged(synthetic_couple(5.0), ("swapped",))))
    done = import_poses(str(results), "--out", str(tmp_path / "data"), "--name", "rumba", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["kept_seconds"] == 5
    assert read_couple(tmp_path / "data" / "rumba.npz", "rumba").num_frames == 150
    assert [Path(path).name for path in document["files"]] == ["rumba.npz", "rumba.html", "rumba.json"]


def test_broken_results_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('[{"image_id": ')
    done = import_poses(str(tmp_path / "r.json"), "--out", str(tmp_path / "data"))
    assert done.returncode == 2
    assert "results" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json"]
