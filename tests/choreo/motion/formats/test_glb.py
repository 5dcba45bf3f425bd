"""GLB files, read as the specification says and compared with the motion."""

from collections.abc import Callable

import numpy as np
import pytest
from glb_scene import GlbScene
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from choreo.motion.clip import Motion
from choreo.motion.formats.glb import glb_bytes
from choreo.motion.formats.gltf_animation import quaternions
from choreo.motion.formats.joint_profiles import PROFILES, JointProfile
from choreo.motion.formats.mannequin import mannequin
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.performance import Performance
from choreo.motion.rigid_pose import rigid_pose
from choreo.motion.skeleton import JOINT_NAMES, PARENTS

MakeMotion = Callable[..., Motion]
MILLIMETRE = 1e-3


@pytest.fixture(scope="module")
def duet(make_motion: MakeMotion) -> Performance:
    meta = {"seed": 5, "model": "unet-small", "tempo": 96.5, "beats": [0.5, 1.0], "prompt": "a waltz, \u201cslow\u201d"}
    return Performance((make_motion(frames=50, seed=1), make_motion(frames=50, seed=2)), meta, ("lead", "follow"))


def sampled(frames: int) -> list[int]:
    return np.unique(np.linspace(0, frames - 1, 20).astype(int)).tolist()


def test_the_animation_is_the_motion(duet: Performance) -> None:
    scene = GlbScene(glb_bytes(duet))
    for frame in sampled(duet.num_frames):
        assert np.abs(scene.joints(frame / duet.fps) - duet.positions[:, frame]).max() < MILLIMETRE


def test_motion_without_rotations_is_that_of_the_rigid_fit(make_motion: MakeMotion) -> None:
    motion = make_motion(frames=30, fitted=False)
    pose = rigid_pose(motion)
    expected = forward_kinematics(pose.root, pose.local)
    scene = GlbScene(glb_bytes(motion))
    for frame in sampled(30):
        found = scene.joints(frame / motion.fps)[0]
        assert np.abs(found - expected[frame]).max() < MILLIMETRE
        assert np.abs(found - motion.positions[frame]).max() < MILLIMETRE  # rigid already


def test_a_skin_per_dancer_binds_at_rest(duet: Performance) -> None:
    scene = GlbScene(glb_bytes(duet))
    nodes, skins = scene.json["nodes"], scene.json["skins"]
    assert [skin["name"] for skin in skins] == ["lead", "follow"]
    assert not set(skins[0]["joints"]) & set(skins[1]["joints"])
    rest = scene.world(None)
    for skin in skins:
        inverse = np.swapaxes(scene.accessor(skin["inverseBindMatrices"]), 1, 2)
        assert np.abs(rest[skin["joints"]] @ inverse - np.eye(4)).max() < 1e-6
        assert tuple(nodes[joint]["name"] for joint in skin["joints"]) == JOINT_NAMES
        place = {node: i for i, node in enumerate(skin["joints"])}
        assert tuple(place.get(scene.parents[node], -1) for node in skin["joints"]) == PARENTS
        assert nodes[skin["skeleton"]]["name"] == skin["name"]
    bodies = [i for i, node in enumerate(nodes) if "mesh" in node]
    assert [nodes[i]["skin"] for i in bodies] == [0, 1]
    assert set(bodies) <= set(scene.json["scenes"][0]["nodes"])


def test_vertices_follow_their_bones(duet: Performance) -> None:
    scene = GlbScene(glb_bytes(duet))
    attributes = scene.json["meshes"][0]["primitives"][0]["attributes"]
    vertices, bones, weights = (scene.accessor(attributes[n]) for n in ("POSITION", "JOINTS_0", "WEIGHTS_0"))
    assert (weights == [1, 0, 0, 0]).all()
    assert (bones[:, 1:] == 0).all()
    skin = scene.json["skins"][1]
    inverse = np.swapaxes(scene.accessor(skin["inverseBindMatrices"]), 1, 2)
    matrices = scene.world(1.0)[skin["joints"]] @ inverse
    homogeneous = np.concatenate([vertices, np.ones((len(vertices), 1))], axis=1)
    moved = (matrices[bones[:, 0]] @ homogeneous[..., None])[:, :3, 0]
    joints = scene.joints(1.0)[1][bones[:, 0]]
    rest = scene.joints(None)[1][bones[:, 0]]
    before, after = np.linalg.norm(vertices - rest, axis=1), np.linalg.norm(moved - joints, axis=1)
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_accessors_have_what_importers_ask_for(duet: Performance) -> None:
    scene = GlbScene(glb_bytes(duet))
    for mesh in scene.json["meshes"]:
        for primitive in mesh["primitives"]:
            assert {"min", "max"} <= scene.json["accessors"][primitive["attributes"]["POSITION"]].keys()
            lengths = np.linalg.norm(scene.accessor(primitive["attributes"]["NORMAL"]), axis=1)
            np.testing.assert_allclose(lengths, 1, atol=1e-5)
            indices = scene.accessor(primitive["indices"])
            assert indices.max() < len(scene.accessor(primitive["attributes"]["POSITION"]))
            assert len(indices) % 3 == 0
    animation = scene.json["animations"][0]
    assert len(animation["channels"]) == len(animation["samplers"]) == 2 * 23
    for sampler in animation["samplers"]:
        assert {"min", "max"} <= scene.json["accessors"][sampler["input"]].keys()
        keys, values = scene.accessor(sampler["input"]), scene.accessor(sampler["output"])
        assert keys[0] == 0
        assert (np.diff(keys) > 0).all()
        assert len(values) == len(keys) == duet.num_frames
        if values.shape[1] == 4:
            np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-5)
            assert ((values[1:] * values[:-1]).sum(axis=1) > 0).all()


def test_the_scene_says_where_the_dance_comes_from(duet: Performance) -> None:
    extras = GlbScene(glb_bytes(duet)).json["scenes"][0]["extras"]
    assert extras["meta"] == duet.meta
    assert (extras["fps"], extras["num_frames"], extras["dancers"]) == (30, 50, ["lead", "follow"])
    assert {name: extras[name] for name in ("seed", "model", "tempo", "beats")} == {
        name: duet.meta[name] for name in ("seed", "model", "tempo", "beats")
    }


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_nodes_have_the_names_of_the_profile(motion: Motion, profile: JointProfile) -> None:
    scene = GlbScene(glb_bytes(motion, profile))
    names = [scene.json["nodes"][joint]["name"] for joint in scene.json["skins"][0]["joints"]]
    assert names == [f"{profile.namespace}{name}" for name in profile.names]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dancers=st.integers(1, 3), frames=st.integers(1, 12), fps=st.floats(1, 240), seed=st.integers(0, 99),
    fitted=st.booleans(),
)  # fmt: skip
def test_any_performance(
    make_motion: MakeMotion, dancers: int, frames: int, fps: float, seed: int, fitted: bool
) -> None:
    motions = tuple(make_motion(frames=frames, fps=fps, seed=seed + i) for i in range(dancers))
    if not fitted:
        motions = tuple(Motion(motion.positions, fps) for motion in motions)
    scene = GlbScene(glb_bytes(Performance(motions)))
    expected = np.stack([forward_kinematics(*rigid_pose(motion)) for motion in motions])
    for frame in (0, frames // 2, frames - 1):
        assert np.abs(scene.joints(frame / fps) - expected[:, frame]).max() < MILLIMETRE


def test_equal_motion_gives_equal_bytes(duet: Performance) -> None:
    assert glb_bytes(duet) == glb_bytes(duet)


def test_quaternions_keep_their_sign_through_whole_turns() -> None:
    angles = np.linspace(0, 6 * np.pi, 100)
    turns = np.zeros((100, 1, 3, 3))
    turns[:, 0, 0, 0] = turns[:, 0, 1, 1] = np.cos(angles)
    turns[:, 0, 1, 0], turns[:, 0, 0, 1], turns[:, 0, 2, 2] = np.sin(angles), -np.sin(angles), 1
    found = quaternions(turns)[:, 0]
    np.testing.assert_allclose(found[:, 2], np.sin(angles / 2), atol=1e-9)
    np.testing.assert_allclose(found[:, 3], np.cos(angles / 2), atol=1e-9)


def test_the_mannequin_is_closed_stands_on_the_floor_and_faces_outwards() -> None:
    body = mannequin()
    assert -0.03 < body.vertices[:, 1].min() < 0.02
    assert 1.6 < body.vertices[:, 1].max() < 1.85
    faces = np.concatenate(body.triangles).astype(int)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert {tuple(edge) for edge in edges.tolist()} == {tuple(edge) for edge in edges[:, ::-1].tolist()}
    assert len(np.unique(edges, axis=0)) == len(edges)
    a, b, c = (body.vertices[faces[:, i]] for i in range(3))
    outwards = np.cross(b - a, c - a)
    assert ((outwards * body.normals[faces[:, 0]]).sum(axis=1) > 0).all()
    left, right, _ = (body.vertices[np.unique(side), 0] for side in body.triangles)
    assert left.mean() > 0.1
    assert right.mean() < -0.1
