"""Motion of GLB and VRM animation files: own ones, rigs of other names and axes, every interpolation, hostile files."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from glb_scene import GlbScene
from hypothesis import given
from hypothesis import strategies as st
from made_rigs import Shape, glb_rig, packed_glb, skeleton, stepping
from rig_names import MIXAMO, MIXAMO_EXTRAS

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.glb import glb_bytes
from choreo.motion.formats.gltf_motion import read_performance
from choreo.motion.formats.joint_profiles import MIXAMO as MIXAMO_PROFILE
from choreo.motion.formats.motion_file import read_motion
from choreo.motion.formats.vrma import vrma_bytes
from choreo.motion.performance import Performance
from choreo.motion.skeleton import JOINT_NAMES, NUM_JOINTS
from choreo.rigs.animate import character_of

MakeMotion = Callable[..., Motion]
MILLIMETRE = 1e-3


@pytest.fixture(scope="module")
def duet(make_motion: MakeMotion) -> Performance:
    dancers = tuple(make_motion(frames=50, seed=seed, fps=25) for seed in (1, 2))
    return Performance(dancers, {"seed": 5, "prompt": "a waltz"}, ("lead", "follow"))


@pytest.fixture(scope="module")
def solo(duet: Performance) -> bytes:
    return glb_bytes(duet.dancers[0])


def changed(data: bytes, change: Callable[[dict[str, Any]], Any], binary: bytes | None = None) -> bytes:
    scene = GlbScene(data)
    document = json.loads(json.dumps(scene.json))
    change(document)
    return packed_glb(document, scene.buffer if binary is None else binary)


@pytest.mark.parametrize("write", [glb_bytes, vrma_bytes, lambda dance: glb_bytes(dance, MIXAMO_PROFILE)])
def test_own_files_come_back(duet: Performance, write: Callable[[Performance], bytes]) -> None:
    back = read_performance(write(duet))
    assert np.abs(back.positions - duet.positions).max() < MILLIMETRE
    assert (back.names, back.fps, back.meta) == (duet.names, 25, duet.meta)


def test_a_file_of_one_dancer_is_a_motion(solo: bytes, duet: Performance, tmp_path: Path) -> None:
    for suffix, data in ((".glb", solo), (".vrma", vrma_bytes(duet.dancers[0]))):
        path = tmp_path / f"dance{suffix}"
        path.write_bytes(data)
        read = read_motion(path).motion
        assert np.abs(read.positions - duet.dancers[0].positions).max() < MILLIMETRE


@pytest.mark.parametrize("matrices", [False, True])
def test_another_rig_is_read_as_it_moves(matrices: bool) -> None:
    dance = stepping()
    armature = ((0.7071068, 0, 0, 0.7071068), 0.01) if not matrices else ((0, 0, 0, 1), 1.0)
    rig = glb_rig(skeleton(Shape(1.2), MIXAMO, MIXAMO_EXTRAS), armature=armature, matrices=matrices)
    moved = character_of(rig, ".glb").dancing(Performance.solo(dance))
    scene, back = GlbScene(moved), read_performance(moved).single()
    nodes = {node.get("name"): i for i, node in enumerate(scene.json["nodes"])}
    assert (back.num_frames, back.fps) == (dance.num_frames, 30)
    for frame in range(0, dance.num_frames, 9):
        world = scene.world(frame / 30)
        for part, name in MIXAMO.items():
            if part not in ("spine1", "spine2", "spine3", "left_collar", "right_collar"):
                joint = back.positions[frame, JOINT_NAMES.index(part)]
                assert np.abs(joint - world[nodes[name], :3, 3]).max() < MILLIMETRE


def test_every_dance_on_one_rig_is_a_dancer(duet: Performance) -> None:
    rig = glb_rig(skeleton(Shape(), MIXAMO, MIXAMO_EXTRAS), more={"animations": [{"channels": [], "samplers": []}]})
    back = read_performance(character_of(rig, ".glb").dancing(duet))
    assert back.names == ("lead", "follow")
    assert np.abs(back.positions[0] - back.positions[1]).max() > 0.1


def test_steps_and_splines(solo: bytes, duet: Performance) -> None:
    whole = duet.dancers[0].positions

    def step(document: dict[str, Any]) -> None:
        for sampler in document["animations"][0]["samplers"]:
            sampler["interpolation"] = "STEP"

    assert np.abs(read_performance(changed(solo, step)).positions[0] - whole).max() < MILLIMETRE
    scene = GlbScene(solo)
    binary = bytearray(scene.buffer)
    document = json.loads(json.dumps(scene.json))
    for sampler in document["animations"][0]["samplers"]:
        sampler["interpolation"] = "CUBICSPLINE"
        values = scene.accessor(sampler["output"])
        triples = np.zeros((len(values), 3, values.shape[1]), np.float32)
        triples[:, 1] = values
        accessor = document["accessors"][sampler["output"]]
        accessor["count"] *= 3
        document["bufferViews"][accessor["bufferView"]] = {
            "buffer": 0, "byteOffset": len(binary), "byteLength": triples.nbytes,
        }  # fmt: skip
        binary += triples.tobytes()
    document["buffers"][0]["byteLength"] = len(binary)
    back = read_performance(packed_glb(document, bytes(binary)))
    assert np.abs(back.positions[0] - whole).max() < MILLIMETRE


def test_between_keys_it_is_interpolated(solo: bytes, duet: Performance) -> None:
    def said(document: dict[str, Any]) -> None:
        document["scenes"][0]["extras"]["fps"] = 50

    back = read_performance(changed(solo, said)).single()
    assert (back.num_frames, back.fps) == (99, 50)
    assert np.abs(back.positions[::2] - duet.dancers[0].positions).max() < MILLIMETRE
    middle = (back.positions[::2][:-1] + back.positions[2::2]) / 2
    assert 0 < np.abs(back.positions[1::2] - middle).max() < 0.1


def test_what_does_not_move_as_a_human_is_left_out(duet: Performance) -> None:
    def prop(document: dict[str, Any]) -> None:
        document["skins"][1]["joints"] = document["skins"][1]["joints"][:3]

    back = read_performance(changed(glb_bytes(duet), prop))
    assert back.names == ("lead",)
    assert back.meta["notes"] == ["1 skeletons are left out: they are no humans"]


def _without_animations(document: dict[str, Any]) -> None:
    del document["animations"]


def _in_a_circle(document: dict[str, Any]) -> None:
    document["nodes"][2]["children"] = [1]
    document["nodes"][1]["children"] = [2]


def _sampler(**members: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["animations"][0]["samplers"][0].update(members)


def _accessor(number: int, **members: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        samplers = document["animations"][0]["samplers"]
        document["accessors"][samplers[0]["input" if number == 0 else "output"]].update(members)

    return change


def _all_joints(document: dict[str, Any]) -> None:
    document["nodes"] += [{"name": f"bone{i}"} for i in range(5000)]
    document["skins"][0]["joints"] += list(range(len(document["nodes"]) - 5000, len(document["nodes"])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_animations, "no animation"),
        (_in_a_circle, "two parents|above itself"),
        (_all_joints, "joints; 2048 are read"),
        (_sampler(input=10**6), "accessors that there is not"),
        (_sampler(output=0), "is no VEC3|times and"),
        (_sampler(interpolation="BEZIER"), "BEZIER"),
        (_accessor(1, count=10**12), "beyond the data"),
        (_accessor(0, count=3), "3 times and 50 values"),
        (_accessor(1, sparse={}), "sparse"),
        (_accessor(1, componentType=5130), "is damaged"),
        (_accessor(1, byteOffset=-4), "number of bytes"),
        (_accessor(1, bufferView=-1), "bufferViews that there is not"),
        (lambda document: document["animations"][0]["channels"][0].update(target={"node": 10**9, "path": "scale"}),
         "a node that there is not"),
        (lambda document: document["buffers"][0].update(uri="http://elsewhere/a.bin"), "another file"),
        (lambda document: document["skins"].__setitem__(0, {"joints": [{}]}), "joints of a skin"),
    ],
)  # fmt: skip
def test_hostile_documents_are_refused_by_name(solo: bytes, change: Callable[..., None], message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as error:
        read_performance(changed(solo, change), "in")
    assert error.value.field == "in"
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("place", ["input", "output"])
def test_numbers_that_are_none(solo: bytes, value: float, place: str) -> None:
    scene = GlbScene(solo)
    accessor = scene.json["accessors"][scene.json["animations"][0]["samplers"][0][place]]
    start = scene.json["bufferViews"][accessor["bufferView"]]["byteOffset"]
    binary = scene.buffer[:start] + np.float32(value).tobytes() + scene.buffer[start + 4 :]
    with pytest.raises(InvalidInput, match="not finite"):
        read_performance(packed_glb(scene.json, binary), "in")


def test_an_hour_between_two_keys_is_no_billion_frames(solo: bytes) -> None:
    scene = GlbScene(solo)
    accessor = scene.json["accessors"][scene.json["animations"][0]["samplers"][0]["input"]]
    start = scene.json["bufferViews"][accessor["bufferView"]]["byteOffset"]
    times = np.linspace(0, 1, 50).astype(np.float32)
    times[-1] = 9e6
    binary = scene.buffer[:start] + times.tobytes() + scene.buffer[start + times.nbytes :]
    with pytest.raises(InvalidInput, match="too much to read"):
        read_performance(packed_glb(scene.json, binary), "in")


@given(cut=st.integers(0, 4000), flipped=st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 255)), max_size=4))
def test_damaged_bytes_are_read_or_refused(cut: int, flipped: list[tuple[int, int]]) -> None:
    motion = Motion(np.tile(stepping(2).positions, (1, 1, 1)), 30)
    data = bytearray(vrma_bytes(motion))
    for place, value in flipped:
        data[place % len(data)] = value
    with contextlib.suppress(InvalidInput):
        back = read_performance(bytes(data[: len(data) - cut]), "in")
        assert back.positions.shape[2:] == (NUM_JOINTS, 3)
        assert np.isfinite(back.positions).all()
