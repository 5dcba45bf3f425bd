"""FBX that Blender writes, and FBX, BVH and GLB as Blender imports them with default settings."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from blender_programs import blender, imported
from made_rigs import stepping
from node_programs import node_folder, run_node

from choreo.motion.clip import Motion
from choreo.motion.formats.bvh import bvh_bytes
from choreo.motion.formats.fbx import fbx_bytes
from choreo.motion.formats.glb import glb_bytes
from choreo.motion.formats.joint_profiles import MIXAMO, SMPL, JointProfile
from choreo.motion.frame_rate import at_frame_rate
from choreo.motion.performance import Performance
from choreo.motion.skeleton import JOINT_NAMES

TOLERANCE = 2e-3
META = {"seed": 5, "model": "unet-small", "beats": [0.5, 1.0]}

pytestmark = pytest.mark.usefixtures("program")


@pytest.fixture(scope="module")
def program() -> str:
    return blender()


@pytest.fixture(scope="module")
def duet(make_motion: Callable[..., Motion]) -> Performance:
    return Performance((stepping(60), make_motion(frames=60, seed=4)), META, ("lead", "follow"))


@pytest.fixture(scope="module")
def solo(duet: Performance) -> Performance:
    return Performance(duet.dancers[:1], META)


def own_names(dancer: str, profile: JointProfile = SMPL) -> tuple[str, ...]:
    return tuple(f"{dancer}{name}" for name in profile.names)


def test_an_fbx_file_is_the_dance(duet: Performance, tmp_path: Path) -> None:
    path = tmp_path / "dance.fbx"
    path.write_bytes(fbx_bytes(duet))
    scene = imported(path, 24)
    assert scene.fps == pytest.approx(30)
    assert [armature["name"] for armature in scene.armatures] == ["follow", "lead"]
    for number, name in enumerate(("follow", "lead")):
        armature = scene.armatures[number]
        expected = duet.dancers[duet.names.index(name)].positions
        found = scene.joints(number, own_names(f"{name}:"))
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < TOLERANCE
        assert armature["scale"] == pytest.approx([0.01, 0.01, 0.01])  # of centimetres in a scene of metres
        assert (armature["about"]["seed"], armature["about"]["model"]) == (5, "unet-small")
        (body,) = armature["meshes"]
        assert body["moved"]
        assert body["name"] == f"{name}-body"
        assert armature["last"] - armature["first"] == 59
    stands = next(armature for armature in scene.armatures if armature["name"] == "lead")["meshes"][0]
    assert -0.03 < stands["low"] < 0.03
    assert 1.6 < stands["high"] < 1.85


@pytest.mark.parametrize(("profile", "fps"), [(SMPL, 24), (MIXAMO, 60)], ids=["smpl", "mixamo"])
def test_names_and_rates_of_an_fbx_file(solo: Performance, profile: JointProfile, fps: float, tmp_path: Path) -> None:
    path = tmp_path / "dance.fbx"
    dancer = at_frame_rate(solo.dancers[0], fps)
    path.write_bytes(fbx_bytes(dancer, profile))
    scene = imported(path, 30)
    assert scene.fps == pytest.approx(fps)
    found = scene.joints(0, own_names(profile.namespace, profile))
    assert len(found) == dancer.num_frames
    assert np.abs(found - dancer.positions).max() < TOLERANCE


def test_a_single_pose_is_an_fbx_file(solo: Performance, tmp_path: Path) -> None:
    path = tmp_path / "dance.fbx"
    path.write_bytes(fbx_bytes(Motion(solo.dancers[0].positions[:1], 30)))
    found = imported(path, 30).joints(0)
    assert np.abs(found[0] - solo.dancers[0].positions[0]).max() < TOLERANCE


def test_another_reader_sees_the_same(
    solo: Performance, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """At a rate that is no whole number, too, whose keys Blender's own importer puts a thousandth aside."""
    folder = node_folder(tmp_path_factory.getbasetemp())
    path = tmp_path / "dance.fbx"
    dancer = at_frame_rate(solo.dancers[0], 29.97)
    path.write_bytes(fbx_bytes(dancer))
    frames = list(range(0, dancer.num_frames, 3))
    times = [frame / 29.97 for frame in frames]
    found = run_node("fbx_positions.mjs", path, json.dumps(JOINT_NAMES), json.dumps(times), folder=folder)
    assert found["duration"] == pytest.approx((dancer.num_frames - 1) / 29.97, abs=1e-4)
    assert found["unit"] == 1
    assert np.abs(np.array(found["positions"]) / 100 - dancer.positions[frames]).max() < TOLERANCE


def test_bvh_is_imported_as_it_is(solo: Performance, tmp_path: Path) -> None:
    path = tmp_path / "dance.bvh"
    path.write_bytes(bvh_bytes(solo))
    scene = imported(path, 24)
    assert scene.fps == pytest.approx(30)
    found = scene.joints(0)
    assert found.shape == solo.positions[0].shape
    assert np.abs(found - solo.positions[0]).max() < TOLERANCE


def test_a_bvh_file_of_two_is_one_armature_with_two_roots(duet: Performance, tmp_path: Path) -> None:
    path = tmp_path / "dance.bvh"
    path.write_bytes(bvh_bytes(duet))
    scene = imported(path, 30)
    assert len(scene.armatures) == 1
    for name, dancer in zip(duet.names, duet.dancers, strict=True):
        assert np.abs(scene.joints(0, own_names(f"{name}:")) - dancer.positions).max() < TOLERANCE


def test_glb_is_imported_as_it_is(duet: Performance, tmp_path: Path) -> None:
    path = tmp_path / "dance.glb"
    path.write_bytes(glb_bytes(duet))
    scene = imported(path, 30)
    assert [armature["name"] for armature in scene.armatures] == ["follow", "lead"]
    for number, name in enumerate(("follow", "lead")):
        expected = duet.dancers[duet.names.index(name)].positions
        assert np.abs(scene.joints(number) - expected).max() < TOLERANCE
