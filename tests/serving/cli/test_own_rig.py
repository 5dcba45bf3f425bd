"""`--rig` and `--map` of `choreo convert` and `choreo generate`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from glb_scene import GlbScene
from http_thread import served
from made_rigs import Shape, bvh_rig, glb_rig, skeleton, stepping
from rig_names import MIXAMO, NAMELESS
from typer.testing import CliRunner

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.bvh_parser import parse_bvh
from choreo.motion.formats.formats import Format, write
from choreo.motion.skeleton import JOINT_NAMES
from serving.cli.convert import ConvertOptions, convert_file
from serving.cli.main import app
from serving.http.ingress import create_app
from serving.settings import Settings

MADE = skeleton(Shape(1.2, arms_down=40), MIXAMO)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(stepping(20), Format.NPZ, tmp_path / "in.npz")
    (tmp_path / "hero.glb").write_bytes(glb_rig(MADE))
    (tmp_path / "hero.bvh").write_bytes(bvh_rig(MADE))
    return tmp_path


@pytest.fixture
def url(stages: Any) -> Iterator[str]:
    with served(create_app(Settings(), stages.stages())) as url:
        yield url


def test_convert_gives_the_file_back_with_the_dance(folder: Path) -> None:
    out = folder / "out.glb"
    document = convert_file(folder / "in.npz", out, ConvertOptions(fps=60, rig=folder / "hero.glb"))
    assert (document["format"], document["skeleton"], document["fps"]) == ("glb", "rig", 60)
    assert document["mapping"]["left_knee"] == MIXAMO["left_knee"]
    assert document["rig_scale"] == pytest.approx(1.2, abs=0.01)
    scene = GlbScene(out.read_bytes())
    assert scene.accessor(scene.json["animations"][0]["samplers"][0]["input"])[1] == pytest.approx(1 / 60)
    document = convert_file(folder / "in.npz", folder / "out.bvh", ConvertOptions(rig=folder / "hero.bvh"))
    bvh = parse_bvh((folder / "out.bvh").read_text())
    assert (document["format"], len(bvh.frames)) == ("bvh", 20)
    assert set(MIXAMO.values()) < set(bvh.names)


def test_the_mapping_is_printed(folder: Path) -> None:
    (folder / "map.yaml").write_text("left_foot: null\n")
    words = [folder / "in.npz", folder / "out.glb", "--rig", folder / "hero.glb", "--map", folder / "map.yaml"]
    done = CliRunner().invoke(app, ["convert", *map(str, words)])
    assert done.exit_code == 0, done.output
    assert "  left_knee: mixamorig:LeftLeg\n" in done.stdout
    assert "  spine: mixamorig:Spine, mixamorig:Spine1, mixamorig:Spine2\n" in done.stdout
    assert "left_foot" not in done.stdout
    assert "note: has no toes: they are estimated" in done.stdout


def test_a_mapping_is_a_map_file(folder: Path) -> None:
    first = convert_file(folder / "in.npz", folder / "a.glb", ConvertOptions(rig=folder / "hero.glb"))
    (folder / "map.json").write_text(json.dumps(first["mapping"]))
    mapped = ConvertOptions(rig=folder / "hero.glb", mapping=folder / "map.json")
    second = convert_file(folder / "in.npz", folder / "b.glb", mapped)
    assert second["mapping"] == first["mapping"]
    assert (folder / "a.glb").read_bytes() == (folder / "b.glb").read_bytes()


@pytest.mark.parametrize(
    ("out", "options", "field"),
    [
        ("out.bvh", {"rig": "hero.glb"}, "out"),
        ("out.npz", {"rig": "hero.glb"}, "out"),
        ("out.glb", {"rig": "none.glb"}, "rig"),
        ("out.glb", {"rig": "in.npz"}, "rig"),
        ("out.glb", {"rig": "folder.glb"}, "rig"),
        ("out.glb", {"rig": "limbs.glb"}, "rig"),
        ("out.glb", {"mapping": "map.json"}, "map"),
        ("out.glb", {"rig": "hero.glb", "mapping": "none.json"}, "map"),
        ("out.glb", {"rig": "hero.glb", "skeleton": "vrm"}, "skeleton"),
    ],
)
def test_bad_input_names_the_field(folder: Path, out: str, options: dict[str, str], field: str) -> None:
    (folder / "folder.glb").mkdir()
    no_arms = {part: name for part, name in NAMELESS.items() if not part.startswith("left_w")}
    (folder / "limbs.glb").write_bytes(glb_rig(skeleton(Shape(), no_arms)))
    paths: dict[str, Any] = {name: folder / value if name != "skeleton" else value for name, value in options.items()}
    with pytest.raises(InvalidInput) as error:
        convert_file(folder / "in.npz", folder / out, ConvertOptions(**paths))
    assert error.value.field == field
    assert not (folder / out).exists()


def test_generate_writes_the_rig_next_to_the_dance(url: str, stages: Any, folder: Path) -> None:
    words = ["--url", url, "--text", "a waltz", "--duration", "1", "--steps", "3", "--no-rag", "--format", "npz"]
    words += ["--rig", str(folder / "hero.glb"), "--out", str(folder / "out"), "--json"]
    done = CliRunner().invoke(app, ["generate", *words])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["files"] == [str(folder / "out" / name) for name in ("motion.npz", "rig.glb")]
    assert document["mapping"]["head"] == MIXAMO["head"]
    written = json.loads((folder / "out" / "report.json").read_text())
    assert written["mapping"] == document["mapping"]
    scene = GlbScene((folder / "out" / "rig.glb").read_bytes())
    with np.load(folder / "out" / "motion.npz") as motion:
        wrist = motion["positions"][:, JOINT_NAMES.index("left_wrist"), 1]
    node = MADE.index["left_wrist"]
    assert np.isfinite(scene.world(0.5)[node]).all()
    assert len(wrist) == scene.json["animations"][0]["extras"]["num_frames"]


def test_a_bad_rig_is_told_before_anything_is_made(stages: Any, folder: Path) -> None:
    words = ["--text", "a waltz", "--rig", str(folder / "in.npz"), "--out", str(folder / "out")]
    with pytest.raises(InvalidInput) as error:
        CliRunner().invoke(app, ["generate", *words], catch_exceptions=False)
    assert error.value.field == "rig"
    assert not (folder / "out").exists()


def test_motion_without_rotations(folder: Path) -> None:
    write(Motion(stepping(20).positions), Format.NPZ, folder / "plain.npz")
    convert_file(folder / "plain.npz", folder / "out.glb", ConvertOptions(rig=folder / "hero.glb"))
    assert (folder / "out.glb").stat().st_size > (folder / "hero.glb").stat().st_size
