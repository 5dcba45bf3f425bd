"""`choreo duet`: both dancers in every file, the leader as given, and leaders that are refused by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_duet import couples, save_small_duet
from small_network import save_small
from typer.testing import CliRunner

from choreo.errors import InvalidInput
from choreo.evaluation.couples import distances
from choreo.motion.clip import Motion
from choreo.motion.formats.formats import Format, write
from choreo.motion.formats.performance_file import read_performance_file
from choreo.motion.performance import Performance
from choreo.motion.retarget import is_canonical
from serving.cli.main import app

LEADER = Motion(couples()[0].dancers[0][:45].astype(np.float32))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_duet(tmp_path_factory.mktemp("weights") / "small-duet")


@pytest.fixture
def leader(tmp_path: Path) -> Path:
    write(LEADER, Format.NPZ, tmp_path / "leader.npz")
    return tmp_path / "leader.npz"


def choreo(*words: str | Path) -> Any:
    result = CliRunner().invoke(app, ["duet", *map(str, words), "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return json.loads(result.stdout)


@pytest.mark.slow
def test_every_format_has_both_dancers(model: Path, leader: Path, tmp_path: Path) -> None:
    formats = ("npz", "bvh", "json", "glb", "csv", "amass", "mp4")
    words = [word for name in formats for word in ("--format", name)]
    document = choreo(leader, "--model", model, "--seed", "3", "--out", tmp_path / "out", *words)
    names = {Path(file).name for file in document["files"]}
    assert len(names) == len(formats)
    assert document["num_frames"] == 45
    for name in ("motion.npz", "motion.bvh", "motion.json", "motion.amass.npz"):
        found = read_performance_file(tmp_path / "out" / name).performance
        assert len(found.dancers) == 2, name
        assert found.num_frames == 45
    both = read_performance_file(tmp_path / "out" / "motion.npz").performance
    assert both.names == ("leader", "follower")
    np.testing.assert_allclose(both.positions[0], LEADER.positions, atol=5e-3)
    assert all(is_canonical(dancer) for dancer in both.positions)
    assert np.isfinite(distances(both.positions)).all()
    assert (tmp_path / "out" / "preview.mp4").stat().st_size > 1000
    assert json.loads((tmp_path / "out" / "report.json").read_text())["meta"]["model"] == "small-duet"


def test_one_who_follows_is_given_a_leader(model: Path, leader: Path, tmp_path: Path) -> None:
    choreo(leader, "--model", model, "--follows", "--duration", "1", "--out", tmp_path / "out", "--format", "npz")
    both = read_performance_file(tmp_path / "out" / "motion.npz").performance
    assert both.names == ("leader", "follower")
    assert both.num_frames == 30
    np.testing.assert_allclose(both.positions[1], LEADER.positions[:30], atol=5e-3)


def unusable(kind: str, folder: Path) -> Path:
    path = folder / "bad.npz"
    match kind:
        case "one frame":
            write(Motion(LEADER.positions[:1]), Format.NPZ, path)
        case "two dancers":
            write(Performance((LEADER, LEADER)), Format.NPZ, path)
        case "an hour and a second":
            positions = np.broadcast_to(LEADER.positions[:1], (3601, 22, 3))
            write(Motion(np.ascontiguousarray(positions), 1.0), Format.NPZ, path)
        case "nan":
            positions = LEADER.positions.copy()
            positions[9, 4] = np.nan
            np.savez(path, positions=positions, fps=30.0)
        case "another skeleton":
            path = folder / "snake.bvh"
            path.write_text(
                "HIERARCHY\nROOT tail\n{\nOFFSET 0 0 0\nCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation "
                "Yrotation\nEnd Site\n{\nOFFSET 0 10 0\n}\n}\nMOTION\nFrames: 2\nFrame Time: 0.033\n"
                "0 0 0 0 0 0\n0 0 0 0 0 0\n"
            )
        case "nothing":
            return folder / "nowhere.npz"
    return path


@pytest.mark.parametrize(
    "kind", ["one frame", "two dancers", "an hour and a second", "nan", "another skeleton", "nothing"]
)
def test_leaders_that_nobody_can_follow(kind: str, model: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="leader") as caught:
        choreo(unusable(kind, tmp_path), "--model", model, "--out", tmp_path / "out")
    assert caught.value.field.partition(".")[0] == "leader"
    assert not (tmp_path / "out").exists()


def test_a_model_of_solos_is_refused(leader: Path, tmp_path: Path) -> None:
    solo = save_small(tmp_path / "solo")
    with pytest.raises(InvalidInput, match="makes solos"):
        choreo(leader, "--model", solo, "--out", tmp_path / "out")
