"""A dance on characters of other proportions, rest poses and joint axes, as an independent reader plays their files."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from glb_scene import GlbScene
from made_rigs import ARM_JOINTS, LEG_JOINTS, Shape, Skeleton, bvh_rig, glb_rig, skeleton
from numpy.typing import NDArray
from rig_names import CONVENTIONS, MIXAMO, MIXAMO_EXTRAS, NAMELESS, vrm_bones
from scipy.spatial.transform import Rotation
from tests_data import data_pack

from choreo.motion import rotations as rot
from choreo.motion.clip import Motion
from choreo.motion.formats.bvh_parser import parse_bvh, position_chunks
from choreo.motion.performance import Performance
from choreo.motion.rigid_pose import on_canonical_skeleton
from choreo.motion.skeleton import CONTACT_JOINTS, JOINT_NAMES, NUM_JOINTS
from choreo.postprocess.contacts import FLAT_HEIGHTS, detect_contacts
from choreo.rigs.animate import character_of

Array = NDArray[np.float64]

BLENDER_EXPORT = ((-np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)), 0.01)
"""Centimetres, z up, below a node that makes metres and y up of them."""
SHAPES = {
    "same": Shape(),
    "tall": Shape(1.3, 1.1, 0.9, 1.2, 1.3, 1.2, ankle=0.11),
    "a-pose": Shape(0.6, 0.9, 1.1, 0.8, 1.0, 0.9, arms_down=45, legs_apart=8),
    "toy": Shape(0.1, 0.6, 0.55, 0.7, 1.8, 1.3),
}


@dataclass(frozen=True)
class Played:
    """What a file shows.

    Attributes:
        joints: (T, 22, 3) metres.
        turns: (T, 22, 3, 3) world rotations.
    """

    joints: Array
    turns: Array


def played(data: bytes, made: Skeleton, frames: int, fps: float, animation: int = 0) -> Played:
    scene = GlbScene(data)
    world = np.stack([scene.world(frame / fps, animation) for frame in range(frames)])
    nodes = [made.index[name] for name in JOINT_NAMES]
    axes = world[:, nodes][..., :3, :3]
    return Played(world[:, nodes][..., :3, 3], axes / np.linalg.norm(axes, axis=-2, keepdims=True))


def limbs(joints: Array, which: dict[str, list[str]]) -> Array:
    """Directions (T, 4, 3) of upper and lower bones."""
    rows = [[JOINT_NAMES.index(name) for name in which[side]] for side in ("left", "right")]
    bones = [(a, b) for row in rows for a, b in pairwise(row)]
    return np.stack([rot.normalize(joints[:, b] - joints[:, a]) for a, b in bones], axis=1)


def degrees_between(a: Array, b: Array) -> Array:
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(axis=-1)))


def turned_by(turns: Array) -> Array:
    """Degrees (T - 1, N) by which joints turn between frames."""
    steps = np.swapaxes(turns[:-1], -1, -2) @ turns[1:]
    return np.degrees(Rotation.from_matrix(steps.reshape(-1, 3, 3)).magnitude()).reshape(len(steps), -1)


def foot_heights(joints: Array, flat: Array) -> Array:
    """Heights (T, 2) of both feet over where they stand flat, given those of `CONTACT_JOINTS`."""
    height = joints[:, list(CONTACT_JOINTS), 1] - flat
    return np.minimum(height[:, :2], height[:, 2:])


def check(dance: Motion, found: Played, made: Skeleton, scale: float) -> None:
    source = np.asarray(dance.positions, np.float64)
    flat = np.array([made.positions[made.index[JOINT_NAMES[joint]], 1] for joint in CONTACT_JOINTS])
    height, wanted = foot_heights(found.joints, flat), scale * foot_heights(source, FLAT_HEIGHTS)
    contacts = detect_contacts(source, dance.fps)
    stands = (contacts[:, :2] | contacts[:, 2:]) & (wanted < 0.005)
    assert stands.any()
    assert np.abs(height[stands]).max() < 0.02
    assert height.min() > -0.02
    assert np.abs(height - np.maximum(wanted, 0))[wanted < 0.1].max() < 0.02
    ground = [joints[:, list(CONTACT_JOINTS)][..., [0, 2]] for joints in (found.joints, source * scale)]
    slide, slid = (np.linalg.norm(np.diff(path, axis=0), axis=-1) * dance.fps for path in ground)
    held = contacts[1:] & contacts[:-1]
    assert slide[held].mean() < slid[held].mean() + 0.02 * scale
    assert degrees_between(limbs(found.joints, ARM_JOINTS), limbs(source, ARM_JOINTS)).max() < 0.1
    assert dance.rotations is not None
    flips = turned_by(found.turns) > 120
    assert not flips.any()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_mixamo_rigs_of_other_proportions(dance: Motion, shape: Shape) -> None:
    made = skeleton(shape, MIXAMO, MIXAMO_EXTRAS)
    character = character_of(glb_rig(made, armature=BLENDER_EXPORT), ".glb")
    found = played(character.dancing(Performance.solo(dance)), made, dance.num_frames, dance.fps)
    check(dance, found, made, character.scale)
    angle = degrees_between(limbs(found.joints, LEG_JOINTS), limbs(np.asarray(dance.positions, float), LEG_JOINTS))
    assert angle.mean() < (0.5 if shape is not SHAPES["toy"] else 2)
    assert np.percentile(angle, 95) < (1.5 if shape is not SHAPES["toy"] else 6)


def test_the_canonical_body_dances_exactly_as_the_source(dance: Motion) -> None:
    made = skeleton(Shape(), MIXAMO, MIXAMO_EXTRAS)
    character = character_of(glb_rig(made), ".glb")
    found = played(character.dancing(Performance.solo(dance)), made, dance.num_frames, dance.fps)
    assert character.scale == pytest.approx(1)
    assert np.abs(found.joints - dance.positions).max() < 0.002


@pytest.mark.parametrize("version", [0, 1])
def test_vrm_rigs(dance: Motion, version: int) -> None:
    made = skeleton(SHAPES["tall"], NAMELESS)
    bones = vrm_bones(made.index)
    listed = [{"bone": name, **bone} for name, bone in bones.items()]
    extension = {"VRM": {"humanoid": {"humanBones": listed}}}
    if version == 1:
        extension = {"VRMC_vrm": {"humanoid": {"humanBones": bones}}}
    turned = 180 if version == 0 else 0  # version 0 faces -z
    character = character_of(glb_rig(made, turned=turned, more={"extensions": extension}), ".vrm")
    assert character.notes == ()
    data = character.dancing(Performance.solo(dance))
    found = played(data, made, dance.num_frames, dance.fps)
    back = np.diag([-1.0, 1, -1]) if version == 0 else np.eye(3)
    check(dance, Played(found.joints @ back, found.turns), made, character.scale)
    assert GlbScene(data).json["extensions"] == extension


@pytest.mark.parametrize("name", CONVENTIONS)
def test_every_convention_dances(dance: Motion, name: str) -> None:
    made = skeleton(SHAPES["a-pose"], *CONVENTIONS[name])
    character = character_of(glb_rig(made), ".glb")
    short = Motion(dance.positions[:20], dance.fps, None if dance.rotations is None else dance.rotations[:20])
    check(short, played(character.dancing(Performance.solo(short)), made, 20, dance.fps), made, character.scale)


@pytest.mark.parametrize("z_up", [False, True])
@pytest.mark.parametrize("order", ["ZXY", "XYZ", "YZX"])
def test_bvh_rigs(dance: Motion, order: str, z_up: bool) -> None:
    made = skeleton(SHAPES["tall"], MIXAMO, MIXAMO_EXTRAS)
    character = character_of(bvh_rig(made, order, z_up=z_up), ".bvh")
    bvh = parse_bvh(character.dancing(Performance.solo(dance)).decode())
    assert 1 / bvh.frame_time == pytest.approx(dance.fps)
    places = np.concatenate(list(position_chunks(bvh))) * 0.01
    places = places @ np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]) if z_up else places
    joints = places[:, [bvh.names.index(MIXAMO[name]) for name in JOINT_NAMES]]
    turns = np.tile(np.eye(3), (len(joints), NUM_JOINTS, 1, 1))
    check(dance, Played(joints, turns), made, character.scale * 0.01)


def test_rigs_without_toes_collars_and_spine(dance: Motion) -> None:
    names = {part: name for part, name in MIXAMO.items() if part not in ("left_foot", "right_foot", "neck")}
    names = {part: name for part, name in names.items() if "collar" not in part and part not in ("spine1", "spine2")}
    made = skeleton(SHAPES["tall"], names)
    character = character_of(glb_rig(made), ".glb")
    assert character.mapping["spine"] == ["mixamorig:Spine2"]
    assert character.notes == ("has no neck: it is estimated", "has no toes: they are estimated")
    scene = GlbScene(character.dancing(Performance.solo(dance)))
    ankles = [made.index["left_ankle"], made.index["right_ankle"]]
    world = np.stack([scene.world(frame / dance.fps)[ankles, 1, 3] for frame in range(dance.num_frames)])
    assert np.abs(world.min() - made.positions[ankles, 1].min()) < 0.02


def test_one_frame(dance: Motion) -> None:
    made = skeleton(SHAPES["a-pose"], MIXAMO)
    character = character_of(glb_rig(made), ".glb")
    assert dance.rotations is not None
    still = Motion(dance.positions[:1], dance.fps, dance.rotations[:1])
    found = played(character.dancing(Performance.solo(still)), made, 1, dance.fps)
    assert np.isfinite(found.joints).all()


def test_dancers_keep_their_places(dance: Motion) -> None:
    made = skeleton(SHAPES["a-pose"], MIXAMO)
    character = character_of(glb_rig(made), ".glb")
    aside = Motion(dance.positions + np.float32((2, 0, 0)), dance.fps, dance.rotations)
    data = character.dancing(Performance((dance, aside), names=("lead", "follow")))
    assert [animation["name"] for animation in GlbScene(data).json["animations"]] == ["dance-lead", "dance-follow"]
    lead, follow = (played(data, made, 10, dance.fps, number).joints for number in range(2))
    np.testing.assert_allclose(follow - lead, np.broadcast_to((2 * character.scale, 0, 0), lead.shape), atol=1e-4)


@pytest.mark.data
@pytest.mark.parametrize("take", ["60_02", "05_04", "135_10"])
def test_recorded_dances_stay_on_the_floor(take: str) -> None:
    recording = np.load(data_pack() / "motion" / "cmu.npz")[take][:150].astype(np.float32) / 1000
    dance, _ = on_canonical_skeleton(Motion(recording))
    made = skeleton(SHAPES["tall"], MIXAMO)
    character = character_of(glb_rig(made), ".glb")
    found = played(character.dancing(Performance.solo(dance)), made, dance.num_frames, dance.fps)
    check(dance, found, made, character.scale)
    angle = degrees_between(limbs(found.joints, LEG_JOINTS), limbs(np.asarray(dance.positions, float), LEG_JOINTS))
    assert angle.mean() < 3
