"""Files as viewers of the web read them: three.js, three-vrm and Khronos' validator, under node."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_programs import node_folder, run_node

from choreo.motion.clip import Motion
from choreo.motion.formats.glb import glb_bytes
from choreo.motion.formats.joint_profiles import VRM
from choreo.motion.formats.vrma import vrma_bytes
from choreo.motion.performance import Performance

MILLIMETRE = 1e-3
FRAMES = 61
SAMPLED = list(range(0, FRAMES, 3))[:20]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return node_folder(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def duet(make_motion: Callable[..., Motion]) -> Performance:
    dancers = tuple(make_motion(frames=FRAMES, seed=seed) for seed in (1, 2))
    return Performance(dancers, {"seed": 5}, ("lead", "follow"))


def vrm_character(motion: Motion, scale: float) -> bytes:
    """The mannequin as a VRM 1.0 character, `scale` times as large and without an animation."""
    data = glb_bytes(motion, VRM)
    length = struct.unpack_from("<I", data, 12)[0]
    document: dict[str, Any] = json.loads(data[20 : 20 + length])
    nodes = {node["name"]: i for i, node in enumerate(document["nodes"])}
    bones = {name: {"node": nodes[name]} for name in VRM.names}
    meta = {"name": "dancer", "authors": ["tests"], "licenseUrl": "https://vrm.dev/licenses/1.0/"}
    document["extensions"] = {"VRMC_vrm": {"specVersion": "1.0", "meta": meta, "humanoid": {"humanBones": bones}}}
    document["extensionsUsed"] = ["VRMC_vrm"]
    del document["animations"]
    for name in VRM.names:
        document["nodes"][nodes[name]]["translation"] = [
            scale * part for part in document["nodes"][nodes[name]]["translation"]
        ]
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    header = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON")
    return header + text + rest


@pytest.mark.parametrize("scale", [1.0, 1.3])
def test_a_vrm_character_dances_the_vrm_animation(duet: Performance, scale: float, node: Path, tmp_path: Path) -> None:
    character, animation = tmp_path / "character.vrm", tmp_path / "dance.vrma"
    character.write_bytes(vrm_character(duet.dancers[0], scale))
    animation.write_bytes(vrma_bytes(duet))
    times = [frame / duet.fps for frame in SAMPLED]
    found = run_node(
        "vrm_animation.mjs", character, animation, json.dumps(VRM.names), json.dumps(times), folder=node
    )  # fmt: skip
    assert found["warnings"] == []
    for played, dancer in zip(found["played"], duet.dancers, strict=True):
        assert set(played["rotations"]) == set(VRM.names)
        assert played["translations"] == ["hips"]
        assert played["duration"] == pytest.approx((FRAMES - 1) / 30, abs=1e-5)
        positions = np.array(played["positions"])
        assert np.abs(positions - scale * dancer.positions[SAMPLED]).max() < scale * MILLIMETRE
        assert np.ptp(positions, axis=0).max(axis=1).min() > 0.01  # every bone moves


@pytest.mark.parametrize("write", [glb_bytes, vrma_bytes])
@pytest.mark.parametrize("dancers", [1, 2])
def test_the_validator_has_nothing_to_say(
    duet: Performance, write: Callable[[Performance], bytes], dancers: int, node: Path, tmp_path: Path
) -> None:
    path = tmp_path / "dance.glb"
    path.write_bytes(write(Performance(duet.dancers[:dancers], duet.meta)))
    issues = run_node("validate.mjs", path, folder=node)
    expected = {"UNSUPPORTED_EXTENSION", "NODE_EMPTY"} if write is vrma_bytes else set()  # it has no mesh
    assert {message["code"] for message in issues["messages"]} <= expected
    assert issues["numErrors"] == issues["numWarnings"] == 0
