"""VRM animations, read as the specification says and compared with the motion."""

from collections.abc import Callable

import numpy as np
import pytest
from glb_scene import GlbScene

from choreo.motion.clip import Motion
from choreo.motion.formats.joint_profiles import VRM
from choreo.motion.formats.vrma import EXTENSION, vrma_bytes
from choreo.motion.performance import Performance
from choreo.motion.skeleton import NUM_JOINTS, PARENTS, PELVIS

MakeMotion = Callable[..., Motion]
MILLIMETRE = 1e-3


@pytest.fixture(scope="module")
def duet(make_motion: MakeMotion) -> Performance:
    dancers = make_motion(frames=50, seed=1), make_motion(frames=50, seed=2, fitted=False)
    return Performance(dancers, {"seed": 5, "model": "unet-small"}, ("lead", "follow"))


def bones(scene: GlbScene) -> list[int]:
    named = scene.json["extensions"][EXTENSION]["humanoid"]["humanBones"]
    return [named[name]["node"] for name in VRM.names]


def test_every_animation_is_the_motion_of_a_dancer(duet: Performance) -> None:
    scene = GlbScene(vrma_bytes(duet))
    assert [animation["name"] for animation in scene.json["animations"]] == ["lead", "follow"]
    for number, dancer in enumerate(duet.dancers):
        for frame in range(0, 50, 7):
            found = scene.world(frame / duet.fps, number)[bones(scene), :3, 3]
            assert np.abs(found - dancer.positions[frame]).max() < MILLIMETRE


def test_the_file_is_what_the_extension_prescribes(duet: Performance) -> None:
    scene = GlbScene(vrma_bytes(duet))
    assert scene.json["extensionsUsed"] == [EXTENSION]
    assert scene.json["extensions"][EXTENSION]["specVersion"] == "1.0"
    joints = bones(scene)
    place = {node: i for i, node in enumerate(joints)}
    assert tuple(place.get(scene.parents[node], -1) for node in joints) == PARENTS
    for animation in scene.json["animations"]:
        targets = [(channel["target"]["node"], channel["target"]["path"]) for channel in animation["channels"]]
        assert [node for node, path in targets if path == "translation"] == [joints[PELVIS]]
        assert {node for node, path in targets if path == "rotation"} == set(joints)
        assert len(targets) == 1 + NUM_JOINTS
    rest = scene.world(None)[joints]
    np.testing.assert_array_equal(rest[:, :3, :3], np.tile(np.eye(3), (NUM_JOINTS, 1, 1)))
    left_hand, right_hand = (rest[VRM.names.index(name), :3, 3] for name in ("leftHand", "rightHand"))
    assert left_hand[0] > 0.5
    np.testing.assert_allclose(left_hand * (-1, 1, 1), right_hand)
    assert 0 < rest[[VRM.names.index("leftToes"), VRM.names.index("leftFoot")], 1, 3].min() < 0.1


def test_it_says_where_the_dance_comes_from(duet: Performance) -> None:
    extras = GlbScene(vrma_bytes(duet)).json["scenes"][0]["extras"]
    assert (extras["fps"], extras["num_frames"], extras["seed"]) == (30, 50, 5)
    assert extras["meta"] == duet.meta
