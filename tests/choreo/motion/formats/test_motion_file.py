import os
from pathlib import Path

import numpy as np
import pytest
from dataset_files import Z_UP, amass_members, dance, shape, t_pose

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.bvh import bvh_text, read_bvh, write_bvh
from choreo.motion.formats.json_format import write_json
from choreo.motion.formats.motion_file import read_motion, read_start
from choreo.motion.formats.npz import write_npz

WRITERS = {".npz": write_npz, ".json": write_json, ".bvh": write_bvh}


def of(positions: np.ndarray, fps: float = 30) -> Motion:
    return Motion(positions.astype(np.float32), fps)


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_is_read_alike(tmp_path: Path, suffix: str) -> None:
    held = np.repeat(t_pose()[None], 45, axis=0)
    WRITERS[suffix](of(np.concatenate([held, dance()])), tmp_path / f"a{suffix.upper()}")
    read = read_motion(tmp_path / f"a{suffix.upper()}")
    assert read.dropped == 1.5
    assert np.abs(read.motion.positions - dance()).max() < 0.01
    assert read_start(tmp_path / f"a{suffix.upper()}").motion.num_frames == 45 + len(dance())


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_positions_with_z_up_are_turned_with_a_note(tmp_path: Path, suffix: str) -> None:
    WRITERS[suffix](of(dance() @ Z_UP.T), tmp_path / f"a{suffix}")
    for read in (read_motion, read_start):
        found = read(tmp_path / f"a{suffix}")
        assert np.abs(found.motion.positions - dance()).max() < 1e-3
        assert "z is up" in found.notes[0]
        kept = read(tmp_path / f"a{suffix}", "motion", "y")
        assert np.abs(kept.motion.positions - dance() @ Z_UP.T).max() < 1e-3


def test_an_archive_of_poses_is_motion_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **amass_members(dance(), 60))
    motion = read_motion(tmp_path / "a.npz").motion
    assert motion.fps == 60
    assert np.linalg.norm(shape(motion.positions[::2])[: len(dance())] - shape(dance()), axis=-1).mean() < 0.01


def exported_by_blender(motion: Motion, scale: float) -> str:
    """A file of this program after an import into Blender at a scale and an export.

    Blender has z up, writes offsets and all six channels of every bone in its own axes, and rounds to six digits.
    """
    lines = bvh_text(motion).split("\n")
    at = lines.index("MOTION")
    offsets: list[np.ndarray] = []
    for i, line in enumerate(lines[:at]):
        word, *numbers = line.split()
        if word == "OFFSET":
            turned = Z_UP @ np.array(numbers, float) * scale
            offsets.append(turned)
            lines[i] = "OFFSET " + " ".join(f"{value:.6f}" for value in turned)
    rows = [np.array(line.split(), float) for line in lines[at + 3 :] if line]
    root = [Z_UP @ row[:3] * scale for row in rows]
    # What turned about z turns about -y now, and what turned about y about z.
    lines[:at] = [line.replace("Zrotation Xrotation Yrotation", "Yrotation Xrotation Zrotation") for line in lines[:at]]
    lines[at + 2] = "Frame Time: 0.033333"
    for i, (row, place) in enumerate(zip(rows, root, strict=True)):
        angles = row[3:].reshape(-1, 3) * (-1, 1, 1)
        values = [*place, *angles.reshape(-1)]
        lines[at + 3 + i] = " ".join(f"{value:.6f}" for value in values)
    return "\n".join(lines)


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_our_own_file_comes_back_from_blender_upright_and_in_its_place(scale: float) -> None:
    motion = of(dance(1) + np.array([1.3, 0, -2.2]))
    expected = read_bvh(bvh_text(motion))
    read = read_bvh(exported_by_blender(motion, scale))
    assert read.fps == 30
    assert np.abs(read.positions - expected.positions).max() < 1e-3
    assert "z is up" in read.meta["notes"][0]
    lying = read_bvh(exported_by_blender(motion, scale), up="y")
    assert np.abs(lying.positions - expected.positions @ Z_UP.T).max() < 1e-3


def test_our_own_rotations_are_turned_along() -> None:
    text = bvh_text(of(dance(1) @ Z_UP.T))
    turned, lying = read_bvh(text, up="z"), read_bvh(text, up="y")
    assert turned.rotations is not None
    assert lying.rotations is not None
    np.testing.assert_allclose(turned.rotations[:, 0], Z_UP.T @ lying.rotations[:, 0], atol=1e-5)
    np.testing.assert_array_equal(turned.rotations[:, 1:], lying.rotations[:, 1:])


@pytest.mark.parametrize("up", ["up", "yy", ""])
def test_an_axis_that_is_none_is_refused(tmp_path: Path, up: str) -> None:
    for suffix, write in WRITERS.items():
        write(of(dance()), tmp_path / f"a{suffix}")
        with pytest.raises(InvalidInput) as error:
            read_motion(tmp_path / f"a{suffix}", up=up)
        assert error.value.field == "up"


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.fbx").write_text("x")
    with pytest.raises(InvalidInput, match=r"must be one of \.npz, \.json, \.bvh"):
        read_motion(tmp_path / "a.fbx")
    os.mkfifo(tmp_path / "pipe.bvh")
    with pytest.raises(InvalidInput, match="not a regular file"):
        read_motion(tmp_path / "pipe.bvh")
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(InvalidInput, match="positions"):
        read_motion(tmp_path / "a.npz")
