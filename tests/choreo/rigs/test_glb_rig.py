"""GLB rigs: what stays as it was, and hostile files."""

import contextlib
import json
import struct
from typing import Any

import numpy as np
import pytest
from glb_scene import GlbScene
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_rigs import Shape, glb_rig, packed_glb, skeleton
from rig_names import MIXAMO, MIXAMO_EXTRAS

from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.performance import Performance
from choreo.rigs.animate import character_of
from choreo.rigs.glb_rig import GlbRig

MADE = skeleton(Shape(1.1, arms_down=30), MIXAMO, MIXAMO_EXTRAS)
GOOD = glb_rig(MADE)


def parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    scene = GlbScene(data)
    return scene.json, scene.buffer


def changed(**members: Any) -> bytes:
    document, binary = parts(GOOD)
    return packed_glb(document | members, binary)


def with_node(number: int, **members: Any) -> bytes:
    document, binary = parts(GOOD)
    document["nodes"][number] |= members
    return packed_glb(document, binary)


def test_everything_else_stays(dance: Motion) -> None:
    old = {"name": "wave", "channels": [], "samplers": []}
    more = {"animations": [old], "extensions": {"VENDOR": {"a": [1, 2.5]}}, "extras": {"ü": "ß"}}
    data = glb_rig(MADE, more=more)
    character = character_of(data, ".glb")
    assert character.notes == ("has 1 animations already; the dance is the last",)
    document, binary = parts(character.dancing(Performance.solo(dance)))
    before, old_binary = parts(data)
    assert binary[: len(old_binary)] == old_binary
    for name in before:
        if name in ("accessors", "bufferViews", "animations"):
            assert document[name][: len(before[name])] == before[name]
        elif name != "buffers":
            assert document[name] == before[name]
    assert len(document["animations"]) == 2
    animation = document["animations"][1]
    assert animation["extras"]["num_frames"] == dance.num_frames
    targets = [(channel["target"]["node"], channel["target"]["path"]) for channel in animation["channels"]]
    assert len(set(targets)) == len(targets) == 23
    assert [path for _, path in targets].count("translation") == 1


def test_quaternions_are_continuous_units(dance: Motion) -> None:
    scene = GlbScene(character_of(GOOD, ".glb").dancing(Performance.solo(dance)))
    for sampler in scene.json["animations"][0]["samplers"]:
        values = scene.accessor(sampler["output"])
        if values.shape[1] == 4:
            np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-6)
            assert ((values[1:] * values[:-1]).sum(axis=1) > 0).all()


def test_nodes_with_matrices(dance: Motion) -> None:
    short = Motion(dance.positions[:3], dance.fps, None if dance.rotations is None else dance.rotations[:3])
    plain, matrices = (
        GlbScene(character_of(glb_rig(MADE, matrices=kind), ".glb").dancing(Performance.solo(short)))
        for kind in (False, True)
    )
    np.testing.assert_allclose(matrices.world(2 / short.fps), plain.world(2 / short.fps), atol=1e-5)


def test_data_outside_of_the_file_gets_a_buffer_of_its_own(dance: Motion) -> None:
    document, _ = parts(GOOD)
    document["buffers"][0]["uri"] = "hero.bin"
    data = character_of(packed_glb(document, None), ".glb").dancing(Performance.solo(dance))
    (length,) = struct.unpack_from("<I", data, 12)
    written = json.loads(data[20 : 20 + length])
    assert len(data) == 20 + length
    assert written["buffers"][0] == document["buffers"][0]
    assert written["buffers"][1]["uri"].startswith("data:application/octet-stream;base64,")


def test_other_skins_and_props_are_no_joints() -> None:
    document, binary = parts(GOOD)
    nodes = document["nodes"]
    first = len(nodes)
    nodes += [{"name": "sword", "children": [first + 1]}, {"name": "Left_Hand"}]
    document["skins"].append({"joints": [first, first + 1]})
    document["scenes"][0]["nodes"].append(first)
    rig = GlbRig(packed_glb(document, binary)).rig
    assert "sword" not in rig.names


ENDLESS = b'{"nodes":' + b"[" * 200_000


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "does not begin with glTF"),
        (b"PK\3\4" + b"\0" * 100, "does not begin with glTF"),
        (GOOD[:4] + struct.pack("<I", 1) + GOOD[8:], "of version 1"),
        (GOOD[:-500], "is cut off"),
        (GOOD[:100], "is cut off"),
        (GOOD[:12] + struct.pack("<I", 2**31) + GOOD[16:], "a chunk is longer than the file"),
        (GOOD[:16] + b"BIN\0" + GOOD[20:], "first chunk is not JSON"),
        (struct.pack("<4sII", b"glTF", 2, 20 + 3) + struct.pack("<I4s", 3, b"JSON") + b"[1]", "its JSON is no object"),
        (struct.pack("<4sII", b"glTF", 2, 20 + 3) + struct.pack("<I4s", 3, b"JSON") + b"\xff{}", "cannot be read"),
        (
            struct.pack("<4sII", b"glTF", 2, 20 + len(ENDLESS)) + struct.pack("<I4s", len(ENDLESS), b"JSON") + ENDLESS,
            "cannot be read",
        ),
        (changed(nodes={}), "its nodes are no list of objects"),
        (changed(accessors=[3]), "its accessors are no list of objects"),
        (changed(nodes=[]), "has 0 nodes"),
        (changed(skins=[], nodes=[{}] * 3000), "has 3000 joints"),
        (changed(skins=[{"joints": [10**6]}]), "joints of a skin are no list of nodes"),
        (changed(skins=[{"joints": "all"}]), "joints of a skin are no list of nodes"),
        (changed(skins=[{}]), "joints of a skin are no list of nodes"),
        (with_node(3, children=[0]), "node 0 has two parents"),
        (changed(nodes=[{"children": [1]}, {"children": [0]}]), "node 0 is above itself"),
        (changed(nodes=[{"children": [0]}]), "node 0 is above itself"),
        (with_node(2, children=[-1]), "children of a node are no list of nodes"),
        (with_node(2, children=[True]), "children of a node are no list of nodes"),
        (with_node(2, translation=[float("nan"), 0, 0]), "holds NaN"),
        (with_node(2, translation=[float("inf"), 0, 0]), "holds Infinity"),
        (GOOD.replace(b"[1.0, 1.0, 1.0]", b"[9e999, 1, 1.0]", 1), "holds 9e999"),
        (with_node(2, translation=[1e9, 0, 0]), "is not 3 finite numbers"),
        (with_node(2, translation=[1, 2]), "is not 3 finite numbers"),
        (with_node(2, rotation=[0, 0, 0, 0]), "no unit quaternion"),
        (with_node(2, scale=["1", "1", "1"]), "is not 3 finite numbers"),
        (with_node(2, scale=[1, 2, 1]), "with an uneven or mirrored scale"),
        (with_node(2, scale=[-1, -1, -1]), "with an uneven or mirrored scale"),
        (with_node(2, matrix=[0] * 16), "whose matrix is flat"),
        (with_node(2, matrix=[1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]), "no rotation with a scale"),
        (changed(extensions={"VRMC_vrm": {"humanoid": {"humanBones": {"hips": {"node": 999}}}}}), "of the humanoid"),
        (changed(extensions={"VRM": {"humanoid": {"humanBones": [{"bone": "hips"}]}}}), "of the humanoid"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(data: bytes, says: str) -> None:
    with pytest.raises(InvalidInput) as error:
        character_of(data, ".glb")
    assert error.value.field == "rig"
    assert says in error.value.message
    assert len(error.value.message) < 200


def test_a_million_joints_are_refused() -> None:
    with pytest.raises(InvalidInput, match="has 1000000 nodes"):
        character_of(changed(nodes=[{}] * 1_000_000), ".glb")


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("choreo.motion.formats.gltf_file.MAX_GLTF_BYTES", 1000)
    with pytest.raises(InvalidInput, match="is larger than"):
        character_of(GOOD, ".glb")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 255)), max_size=4), st.integers(0, 40))
def test_damaged_files_dance_or_are_refused(dance: Motion, edits: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(GOOD)
    for at, value in edits:
        data[at % len(data)] = value
    short = Motion(dance.positions[:2], dance.fps, None if dance.rotations is None else dance.rotations[:2])
    with contextlib.suppress(InvalidInput):
        character = character_of(bytes(data[: len(data) - cut]), ".glb")
        assert character.dancing(Performance.solo(short))[:4] == b"glTF"
