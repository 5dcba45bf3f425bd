"""Archives in the layout of AMASS."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from choreo.data.layouts.amass import Amass
from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.amass import amass_bytes
from choreo.motion.formats.motion_file import read_motion
from choreo.motion.formats.npz import NpzArchive
from choreo.motion.formats.performance_file import read_performance_file
from choreo.motion.formats.smpl_npz import read_smpl, read_smpl_dancers
from choreo.motion.performance import Performance
from choreo.motion.upright import Upright

MakeMotion = Callable[..., Motion]
MILLIMETRE = 1e-3


def members(dance: Motion | Performance, **changes: Any) -> dict[str, Any]:
    with np.load(io.BytesIO(amass_bytes(dance)), allow_pickle=False) as file:
        return {name: file[name] for name in file.files} | changes


def test_members_are_those_of_the_releases(motion: Motion) -> None:
    found = members(motion)
    frames = motion.num_frames
    assert {name: value.shape for name, value in found.items()} == {
        "poses": (frames, 156), "root_orient": (frames, 3), "pose_body": (frames, 63), "trans": (frames, 3),
        "betas": (16,), "gender": (), "mocap_framerate": (), "mocap_frame_rate": (), "meta": (),
    }  # fmt: skip
    assert str(found["gender"]) == "neutral"
    assert found["mocap_framerate"] == found["mocap_frame_rate"] == motion.fps
    assert not found["betas"].any()
    assert not found["poses"][:, 66:].any()
    np.testing.assert_array_equal(found["poses"][:, :66], np.hstack([found["root_orient"], found["pose_body"]]))
    np.testing.assert_allclose(found["trans"][:, 2], motion.positions[:, 0, 1], atol=1e-6)  # z is up


@pytest.mark.parametrize("fitted", [True, False])
def test_the_reader_of_the_data_set_finds_the_same_motion(
    make_motion: MakeMotion, tmp_path: Path, fitted: bool
) -> None:
    motion = make_motion(frames=120, fps=60, fitted=fitted)
    (tmp_path / "take_poses.npz").write_bytes(amass_bytes(motion))
    assert Amass.recognised(tmp_path)
    found = Amass(tmp_path).recording("take_poses")
    assert (found.fps, found.convention, found.certain) == (60, "z", True)
    assert np.abs(Upright("z").turned(found.positions) - motion.positions).max() < MILLIMETRE


def test_it_is_read_as_a_motion_file(make_motion: MakeMotion, tmp_path: Path) -> None:
    motion = make_motion(frames=90, strength=0.5)
    (tmp_path / "dance.amass.npz").write_bytes(amass_bytes(motion))
    found = read_motion(tmp_path / "dance.amass.npz")
    assert np.abs(found.motion.positions - motion.positions).max() < MILLIMETRE


def test_a_duet_comes_back_with_rotations_and_metadata(make_motion: MakeMotion, tmp_path: Path) -> None:
    dancers = (make_motion(frames=20, seed=1), make_motion(frames=20, seed=2))
    duet = Performance(dancers, {"seed": 5, "model": "m"}, ("lead", "follow"))
    path = tmp_path / "duet.amass.npz"
    path.write_bytes(amass_bytes(duet))
    back = read_performance_file(path).performance
    assert (back.names, back.fps, back.meta) == (duet.names, duet.fps, duet.meta)
    assert np.abs(back.positions - duet.positions).max() < MILLIMETRE
    assert back.rotations is not None
    assert duet.rotations is not None
    assert np.abs(back.rotations - duet.rotations).max() < 1e-5
    with pytest.raises(InvalidInput, match="must be one dancer, got 2: lead, follow") as error:
        read_smpl(path, "start")
    assert error.value.field == "start"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"dancers": np.array(["one", "one"])}, "start.dancers"),
        ({"dancers": np.array(["one", "two", "three"])}, "start"),
        ({"trans": np.zeros((2, 7, 3), np.float32)}, "start"),
        ({"trans": np.zeros((20, 3), np.float32)}, "start"),
        ({"poses": np.full((2, 20, 156), np.nan, np.float32)}, "start"),
        ({"poses": np.zeros((2, 20, 60), np.float32)}, "start"),
        ({"poses": np.zeros((2, 0, 156), np.float32)}, "start"),
        ({"poses": np.zeros((40, 156), np.float32)}, "start"),
    ],
)
def test_a_broken_duet_is_refused(make_motion: MakeMotion, changes: dict[str, Any], field: str) -> None:
    duet = Performance((make_motion(frames=20, seed=1), make_motion(frames=20, seed=2)))
    buffer = io.BytesIO()
    np.savez(buffer, **members(duet, **changes))
    with pytest.raises(InvalidInput) as error:
        read_smpl_dancers(NpzArchive(buffer.getvalue(), "start"), "start")
    assert error.value.field == field
