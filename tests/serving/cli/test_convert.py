"""`choreo convert`."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from glb_scene import GlbScene
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.formats import FORMATS, Format, write
from choreo.motion.formats.motion_file import SUFFIXES
from choreo.motion.formats.performance_file import read_performance_file
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.performance import Performance
from choreo.motion.skeleton import NUM_JOINTS
from choreo.motion.travel import travel
from serving.cli.convert import ConvertOptions, convert_file
from serving.cli.dance_commands import FORMATS_HELP

MILLIMETRE = 1e-3
FRAMES = 30
COPIES = [fmt for fmt in FORMATS if fmt.suffix.endswith(SUFFIXES)]
"""Formats that are written and read."""


def dancer(seed: int) -> Motion:
    rng = np.random.default_rng(seed)
    vectors = gaussian_filter1d(rng.normal(size=(FRAMES, NUM_JOINTS, 3)), 5, axis=0, mode="nearest")
    local = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(FRAMES, NUM_JOINTS, 3, 3)
    root = np.stack([seed + np.linspace(0, 2, FRAMES), np.full(FRAMES, 0.95), np.zeros(FRAMES)], axis=1)
    return Motion(forward_kinematics(root, local).astype(np.float32), 30, local.astype(np.float32))


SOLO = Performance((dancer(0),), {"seed": 7, "model": "unet-small"})
DUET = Performance((dancer(0), dancer(1)), {"seed": 7, "model": "unet-small"}, ("lead", "follow"))


@pytest.mark.parametrize("performance", [SOLO, DUET], ids=["solo", "duet"])
@pytest.mark.parametrize("given", COPIES, ids=str)
@pytest.mark.parametrize("wanted", [fmt for fmt in FORMATS if not fmt.needs_audio and not fmt.needs_blender], ids=str)
def test_every_format_that_is_read_becomes_every_one_that_is_written(
    performance: Performance, given: Format, wanted: Format, tmp_path: Path
) -> None:
    source, out = tmp_path / f"in{given.suffix}", tmp_path / f"out{wanted.suffix}"
    write(performance, given, source)
    document = convert_file(source, out, ConvertOptions())
    assert (document["format"], document["num_frames"], document["fps"]) == (wanted.name, FRAMES, 30)
    assert document["residual"] < MILLIMETRE
    assert document["notes"] == []
    if wanted is Format.GLB:
        scene = GlbScene(out.read_bytes())
        found = np.stack([scene.joints(frame / 30) for frame in range(0, FRAMES, 4)], axis=1)
        assert np.abs(found - performance.positions[:, ::4]).max() < MILLIMETRE
    elif wanted is Format.CSV:
        rows = np.loadtxt(out, delimiter=",", skiprows=1)[:, 2:].reshape(FRAMES, -1, NUM_JOINTS, 3)
        assert np.abs(np.moveaxis(rows, 1, 0) - performance.positions).max() < MILLIMETRE
    else:
        back = read_performance_file(out).performance
        assert np.abs(back.positions - performance.positions).max() < MILLIMETRE
        assert back.names == performance.names
        if Format.BVH not in (given, wanted):  # which has no place for metadata
            assert back.meta == performance.meta


def test_joint_names_rate_and_place(tmp_path: Path) -> None:
    source, out = tmp_path / "in.npz", tmp_path / "out.bvh"
    write(DUET, Format.NPZ, source)
    document = convert_file(source, out, ConvertOptions("mixamo", 60, True))
    assert (document["skeleton"], document["fps"], document["dancers"]) == ("mixamo", 60, ["lead", "follow"])
    assert "ROOT lead:Hips" in out.read_text()
    back = read_performance_file(out).performance
    assert (back.fps, back.num_frames) == (60, 2 * FRAMES - 1)
    for moved, given in zip(back.dancers, DUET.dancers, strict=True):
        assert travel(moved.positions, 60) < travel(given.positions) / 3
        np.testing.assert_allclose(moved.positions[0], given.positions[0], atol=MILLIMETRE)


def test_z_up_is_turned_with_its_rotations(tmp_path: Path) -> None:
    motion = SOLO.dancers[0]
    turn = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
    assert motion.rotations is not None
    rotations = motion.rotations.copy()
    rotations[:, 0] = turn @ rotations[:, 0]
    write(Motion(motion.positions @ turn.T, 30, rotations), Format.NPZ, tmp_path / "in.npz")
    convert_file(tmp_path / "in.npz", tmp_path / "out.npz", ConvertOptions(up="z"))
    back = read_performance_file(tmp_path / "out.npz").performance
    assert np.abs(back.positions - SOLO.positions).max() < MILLIMETRE


def test_another_skeleton_is_retargeted(tmp_path: Path) -> None:
    write(Motion(SOLO.dancers[0].positions * np.float32(1.3)), Format.NPZ, tmp_path / "in.npz")
    convert_file(tmp_path / "in.npz", tmp_path / "out.npz", ConvertOptions())
    out = read_performance_file(tmp_path / "out.npz").performance.dancers[0]
    lengths = np.linalg.norm(out.positions[:, 4] - out.positions[:, 1], axis=1)
    np.testing.assert_allclose(lengths, 0.41, atol=1e-4)


def broken_npz(**changes: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{"positions": SOLO.positions[0], "fps": 30.0} | changes)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "options", "field"),
    [
        ("a.npz", b"", ConvertOptions(), "in"),
        ("a.npz", broken_npz()[:500], ConvertOptions(), "in"),
        ("a.npz", broken_npz(fps=np.nan), ConvertOptions(), "in.fps"),
        ("a.npz", broken_npz(positions=np.full((3, 22, 3), np.nan)), ConvertOptions(), "in.positions"),
        ("a.bvh", b"HIERARCHY\nROOT", ConvertOptions(), "in"),
        ("a.json", b'{"motion": [[]], "fps": 30}', ConvertOptions(), "in"),
        ("a.fbx", b"Kaydara", ConvertOptions(), "in"),
        ("a.npz", None, ConvertOptions(), "in"),
        ("a.npz", broken_npz(), ConvertOptions(fps=0), "fps"),
        ("a.npz", broken_npz(), ConvertOptions(fps=float("nan")), "fps"),
        ("a.npz", broken_npz(), ConvertOptions("maya"), "skeleton"),
        ("a.npz", broken_npz(), ConvertOptions(up="north"), "up"),
    ],
)
def test_bad_input_names_the_field(
    tmp_path: Path, name: str, content: bytes | None, options: ConvertOptions, field: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    (tmp_path / "out.bvh").write_bytes(b"old")
    with pytest.raises(InvalidInput) as error:
        convert_file(tmp_path / name, tmp_path / "out.bvh", options)
    assert error.value.field == field
    assert "\n" not in str(error.value)
    assert (tmp_path / "out.bvh").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("out", "options", "field"),
    [
        ("out.usd", ConvertOptions(), "out"),
        ("none/out.glb", ConvertOptions(), "out"),
        ("folder.glb", ConvertOptions(), "out"),
        ("out.csv", ConvertOptions("mixamo"), "skeleton"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, out: str, options: ConvertOptions, field: str) -> None:
    write(SOLO, Format.NPZ, tmp_path / "in.npz")
    (tmp_path / "folder.glb").mkdir()
    with pytest.raises(InvalidInput) as error:
        convert_file(tmp_path / "in.npz", tmp_path / out, options)
    assert error.value.field == field
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.glb", "in.npz"]


def test_the_command(tmp_path: Path) -> None:
    write(SOLO, Format.NPZ, tmp_path / "in.npz")
    command = [sys.executable, "-m", "serving.cli.main", "convert", str(tmp_path / "in.npz")]
    done = subprocess.run(
        [*command, str(tmp_path / "out.glb"), "--skeleton", "vrm", "--fps", "60", "--in-place", "--json"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"] == [str(tmp_path / "out.glb")]
    done = subprocess.run(
        [*command, str(tmp_path / "out.xyz")], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("choreo: out: must end with")
    assert len(done.stderr.splitlines()) == 1


def test_the_help_lists_all_formats() -> None:
    assert FORMATS_HELP.startswith(", ".join(fmt.name for fmt in FORMATS) + ";")


@pytest.mark.parametrize("name", ["film.mp4", "film.GIF"])
def test_films_have_sizes_and_marks(name: str, tmp_path: Path) -> None:
    source, out = tmp_path / "in.npz", tmp_path / name
    write(DUET, Format.NPZ, source)
    plain = convert_file(source, out, ConvertOptions())
    data = out.read_bytes()
    assert plain["format"] == name.rpartition(".")[2].lower()
    convert_file(source, out, ConvertOptions(size="720p", marks=True))
    assert len(out.read_bytes()) > len(data)


@pytest.mark.parametrize(
    ("name", "options", "field"),
    [
        ("out.mp4", ConvertOptions(size="8k"), "size"),
        ("out.gif", ConvertOptions(skeleton="mixamo"), "skeleton"),
        ("out.bvh", ConvertOptions(size="720p"), "size"),
        ("out.npz", ConvertOptions(marks=True), "marks"),
    ],
)
def test_what_is_for_films_only(name: str, options: ConvertOptions, field: str, tmp_path: Path) -> None:
    write(SOLO, Format.NPZ, tmp_path / "in.npz")
    with pytest.raises(InvalidInput) as error:
        convert_file(tmp_path / "in.npz", tmp_path / name, options)
    assert error.value.field == field
    assert not (tmp_path / name).exists()
