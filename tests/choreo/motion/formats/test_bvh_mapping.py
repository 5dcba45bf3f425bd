"""Skeletons of other programs. The hierarchies are written here; their proportions are invented."""

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.motion import kinematics
from choreo.motion.formats.bvh import bvh_text, read_bvh
from choreo.motion.formats.bvh_mapping import joint_weights
from choreo.motion.formats.bvh_parser import Bvh, parse_bvh, position_chunks
from choreo.motion.skeleton import JOINT_NAMES

Tree = dict[str, tuple[str | None, tuple[float, float, float]]]


def bvh_positions(bvh: Bvh) -> np.ndarray:
    """Joint positions (F, J, 3) in file units."""
    return np.concatenate(list(position_chunks(bvh)))


def sides(limbs: Tree) -> Tree:
    """Left limbs and their mirror images."""
    right = {
        name.replace("Left", "Right").replace("LHip", "RHip"): (
            parent and parent.replace("Left", "Right").replace("LHip", "RHip"),
            (-x, y, z),
        )
        for name, (parent, (x, y, z)) in limbs.items()
    }
    return limbs | right


CMU: Tree = {
    "Hips": (None, (0, 0, 0)),
    "LowerBack": ("Hips", (0, 0, 0)),
    "Spine": ("LowerBack", (0, 2, -0.1)),
    "Spine1": ("Spine", (0, 2, 0.1)),
    "Neck": ("Spine1", (0, 0, 0)),
    "Neck1": ("Neck", (0, 1.5, 0.2)),
    "Head": ("Neck1", (0, 1.5, 0)),
} | sides(
    {
        "LHipJoint": ("Hips", (0, 0, 0)),
        "LeftUpLeg": ("LHipJoint", (1.5, -1.5, 0.5)),
        "LeftLeg": ("LeftUpLeg", (2, -6, 0)),
        "LeftFoot": ("LeftLeg", (2, -6.5, 0)),
        "LeftToeBase": ("LeftFoot", (0, -0.5, 2)),
        "LeftShoulder": ("Spine1", (0, 0, 0)),
        "LeftArm": ("LeftShoulder", (3, 1, 0)),
        "LeftForeArm": ("LeftArm", (5, 0, 0)),
        "LeftHand": ("LeftForeArm", (3, 0, 0)),
    }
)
MIXAMO: Tree = {
    "Hips": (None, (0, 0, 0)),
    "Spine": ("Hips", (0, 10, 0)),
    "Spine1": ("Spine", (0, 12, 0)),
    "Spine2": ("Spine1", (0, 13, 0)),
    "Neck": ("Spine2", (0, 15, 0)),
    "Head": ("Neck", (0, 10, 3)),
} | sides(
    {
        "LeftUpLeg": ("Hips", (9, -5, 0)),
        "LeftLeg": ("LeftUpLeg", (0, -40, 0)),
        "LeftFoot": ("LeftLeg", (0, -42, 0)),
        "LeftToe": ("LeftFoot", (0, -8, 12)),
        "LeftShoulder": ("Spine2", (6, 9, 0)),
        "LeftArm": ("LeftShoulder", (12, 0, 0)),
        "LeftForeArm": ("LeftArm", (27, 0, 0)),
        "LeftHand": ("LeftForeArm", (25, 0, 0)),
    }
)
BIOVISION: Tree = {
    "Hips": (None, (0, 0, 0)),
    "Chest": ("Hips", (0, 20, 0)),
    "Neck": ("Chest", (0, 30, 0)),
    "Head": ("Neck", (0, 10, 0)),
} | sides(
    {
        "LeftHip": ("Hips", (9, -5, 0)),
        "LeftKnee": ("LeftHip", (0, -40, 0)),
        "LeftAnkle": ("LeftKnee", (0, -42, 0)),
        "LeftFoot": ("LeftAnkle", (0, -8, 12)),
        "LeftShoulder": ("Chest", (18, 24, 0)),
        "LeftElbow": ("LeftShoulder", (27, 0, 0)),
        "LeftWrist": ("LeftElbow", (25, 0, 0)),
    }
)


def bvh_file(tree: Tree, frames: int = 5, seed: int = 0) -> str:
    """A file of the skeleton with random rotations, depth first."""
    lines: list[str] = ["HIERARCHY"]
    width = 0

    def visit(name: str) -> None:
        nonlocal width
        parent, offset = tree[name]
        lines.append(f"{'JOINT' if parent else 'ROOT'} {name}\n{{\nOFFSET {offset[0]} {offset[1]} {offset[2]}")
        positions = "" if parent else "Xposition Yposition Zposition "
        lines.append(f"CHANNELS {3 if parent else 6} {positions}Zrotation Yrotation Xrotation")
        width += 3 if parent else 6
        kids = [child for child, (of, _) in tree.items() if of == name]
        for child in kids:
            visit(child)
        lines.append("}" if kids else "End Site\n{\nOFFSET 0 0 2\n}\n}")

    visit(next(name for name, (parent, _) in tree.items() if parent is None))
    values = np.random.default_rng(seed).normal(0, 12, (frames, width))
    rows = [" ".join(f"{value:.5f}" for value in row) for row in values]
    return "\n".join([*lines, "MOTION", f"Frames: {frames}", "Frame Time: 0.0333333", *rows]) + "\n"


def joints_of(text: str, **wanted: str) -> tuple[np.ndarray, np.ndarray]:
    """Mapped positions of SMPL joints, and the file's own positions of the joints they should be."""
    bvh = parse_bvh(text)
    mapped = np.einsum("sj,fjc->fsc", joint_weights(bvh), bvh_positions(bvh))
    ours = mapped[:, [JOINT_NAMES.index(name) for name in wanted]]
    return ours, bvh_positions(bvh)[:, [bvh.names.index(name) for name in wanted.values()]]


def test_cmu_names():
    ours, theirs = joints_of(
        bvh_file(CMU), pelvis="Hips", left_hip="LeftUpLeg", left_knee="LeftLeg", right_ankle="RightFoot",
        right_foot="RightToeBase", neck="Neck1", head="Head", left_shoulder="LeftArm", left_elbow="LeftForeArm",
        right_wrist="RightHand",
    )  # fmt: skip
    assert np.allclose(ours, theirs)


def test_mixamo_names_with_their_namespace():
    text = bvh_file(MIXAMO).replace("JOINT ", "JOINT mixamorig:").replace("ROOT ", "ROOT mixamorig:")
    ours, theirs = joints_of(
        text, pelvis="mixamorig:Hips", left_hip="mixamorig:LeftUpLeg", left_ankle="mixamorig:LeftFoot",
        left_foot="mixamorig:LeftToe", left_collar="mixamorig:LeftShoulder", left_shoulder="mixamorig:LeftArm",
        neck="mixamorig:Neck",
    )  # fmt: skip
    assert np.allclose(ours, theirs)


def test_biovision_names_where_the_same_word_means_another_joint():
    ours, theirs = joints_of(
        bvh_file(BIOVISION), left_hip="LeftHip", left_ankle="LeftAnkle", left_foot="LeftFoot",
        left_shoulder="LeftShoulder", right_wrist="RightWrist",
    )  # fmt: skip
    assert np.allclose(ours, theirs)


def test_a_toe_may_be_an_end_site():
    tree = {name: value for name, value in CMU.items() if "Toe" not in name}
    ours, theirs = joints_of(bvh_file(tree), left_foot="LeftFoot_end", right_foot="RightFoot_end")
    assert np.allclose(ours, theirs)


@pytest.mark.parametrize("tree", [CMU, MIXAMO, BIOVISION])
def test_spine_and_collars_are_interpolated_where_the_skeleton_has_none(tree):
    text = bvh_file(tree)
    weights = joint_weights(parse_bvh(text))
    assert np.allclose(weights.sum(axis=1), 1)
    assert weights.min() >= 0
    motion = read_bvh(text, scale=0.056 if tree is CMU else 0.01)
    assert motion.rotations is None
    joints, parents = [3, 6, 9, 12, 13, 14, 16], [0, 3, 6, 9, 9, 9, 13]
    lengths = np.linalg.norm(motion.positions[:, joints] - motion.positions[:, parents], axis=-1)
    assert lengths.min() > 0.01  # no two joints fall on one another
    fit = kinematics.fit(motion.positions)
    assert np.isfinite(fit.local).all()


def test_cmu_clavicles_that_start_in_the_spine_give_collars_on_the_way_to_the_shoulders():
    bvh = parse_bvh(bvh_file(CMU))
    positions = bvh_positions(bvh)
    start, shoulder = (positions[:, bvh.names.index(name)] for name in ("LeftShoulder", "LeftArm"))
    collar = (joint_weights(bvh) @ positions)[:, JOINT_NAMES.index("left_collar")]
    assert np.allclose(collar, 0.65 * start + 0.35 * shoulder)


def test_unknown_words_around_known_names_do_not_matter():
    text = bvh_file(CMU).replace("ROOT Hips", "ROOT HIPS").replace("JOINT LeftUpLeg", "JOINT rig:Left_Up-Leg")
    assert np.allclose(read_bvh(text).positions, read_bvh(bvh_file(CMU)).positions)


def test_our_names_on_another_body_keep_positions_but_give_no_rotations(motion):
    text = bvh_text(motion).replace("OFFSET 0.000000 -41.000000 0.000000", "OFFSET 0.000000 -45.000000 0.000000", 1)
    read = read_bvh(text)
    assert read.rotations is None
    assert np.abs(read.positions[:, 4] - motion.positions[:, 4]).max() > 0.03


@pytest.mark.parametrize(
    ("missing", "named"), [("LeftLeg", "left_knee"), ("RightHand", "right_wrist"), ("Head", "head"), ("Hips", "pelvis")]
)
def test_a_joint_whose_name_says_nothing_is_found_by_its_place(missing, named):
    text = bvh_file(CMU).replace(f" {missing}\n", " thing\n")
    ours, theirs = joints_of(text, **{named: "thing"})
    assert np.allclose(ours, theirs)


def test_a_joint_that_nothing_gives_is_named():
    gone = ("LeftForeArm", "LeftHand")
    text = bvh_file({name: value for name, value in MIXAMO.items() if name not in gone})
    with pytest.raises(InvalidInput, match="left_elbow") as error:
        read_bvh(text, "start")
    assert error.value.field == "start"


def test_a_neck_that_does_not_hang_on_the_pelvis_still_maps():
    tree = BIOVISION | {"Root": (None, (0.0, 0.0, 0.0)), "Hips": ("Root", (0, 1, 0)), "Chest": ("Root", (0, 21, 0))}
    weights = joint_weights(parse_bvh(bvh_file(tree)))
    assert np.allclose(weights.sum(axis=1), 1)


PARTS = ("Shoulder", "Arm", "ForeArm", "Hand", "UpLeg", "Leg", "Foot", "Toe")
UPPER_LOWER = ("Shoulder", "UpperArm", "LowerArm", "Hand", "UpperLeg", "LowerLeg", "Foot", "Toes")
JOINTS = ("Collar", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Toe")
TRUNK = ("Hips", "Spine", "Spine1", "Spine2", "Neck", "Head")
FAMILIES = {
    "namespace": ("rig:dancer:{}", "rig:dancer:Left{}", "rig:dancer:Right{}", TRUNK, PARTS),
    "namespace with a bar": ("rig|{}", "rig|Left{}", "rig|Right{}", TRUNK, PARTS),
    "prefix without a colon": ("mixamorig{}", "mixamorigLeft{}", "mixamorigRight{}", TRUNK, PARTS),
    "numbered prefix": ("mixamorig12_{}", "mixamorig12_Left{}", "mixamorig12_Right{}", TRUNK, PARTS),
    "character": ("Character1_{}", "Character1_Left{}", "Character1_Right{}", TRUNK, PARTS),
    "side behind": ("{}", "{}_L", "{}_R", ("Hips", "Spine", "Chest", "Chest2", "Neck", "Head"), UPPER_LOWER),
    "dots": ("{}", "{}.L", "{}.R", ("hips", "spine", "spine.001", "chest", "neck", "head"), (
        "shoulder", "upper_arm", "forearm", "hand", "thigh", "shin", "foot", "toe")),
    "deform": ("DEF-{}", "DEF-{}.L", "DEF-{}.R", ("spine", "spine.001", "spine.002", "spine.003", "neck", "head"), (
        "shoulder", "upper_arm", "forearm", "hand", "thigh", "shin", "foot", "toe")),
    "small letters": ("{}", "{}_l", "{}_r", ("pelvis", "spine_01", "spine_02", "spine_03", "neck_01", "head"), (
        "clavicle", "upperarm", "lowerarm", "hand", "thigh", "calf", "foot", "ball")),
    "spaces": ("Bip01 {}", "Bip01 L {}", "Bip01 R {}", ("Pelvis", "Spine", "Spine1", "Spine2", "Neck", "Head"), (
        "Clavicle", "UpperArm", "Forearm", "Hand", "Thigh", "Calf", "Foot", "Toe0")),
    "side first": ("{}", "L_{}", "R_{}", ("Pelvis", "Torso", "Spine", "Chest", "Neck", "Head"), JOINTS),
    "letter": ("{}", "l{}", "r{}", ("hip", "abdomen", "abdomen2", "chest", "neck", "head"), (
        "Collar", "Shldr", "ForeArm", "Hand", "Thigh", "Shin", "Foot", "Toe")),
    "bent": ("{}", "l{}Bend", "r{}Bend", ("pelvis", "abdomen", "abdomen2", "chest", "neckLower", "head"), (
        "Collar", "Shldr", "Forearm", "Hand", "Thigh", "Shin", "Foot", "Toe")),
    "leg for thigh": ("{}", "Left{}", "Right{}", ("Hips", "Spine1", "Spine2", "Chest", "Neck1", "Head"), (
        "Shoulder", "Arm", "ForeArm", "Hand", "Leg", "Shin", "Foot", "ToeBase")),
    "middle": ("J_Bip_C_{}", "J_Bip_L_{}", "J_Bip_R_{}", ("Hips", "Spine", "Chest", "UpperChest", "Neck", "Head"),
        UPPER_LOWER),
    "latin": ("{}", "l{}", "r{}", ("root", "lowerback", "upperback", "thorax", "lowerneck", "head"), (
        "clavicle", "humerus", "radius", "wrist", "femur", "tibia", "foot", "toes")),
    "joint behind": ("{}_joint", "left_{}_joint", "right_{}_joint",
        ("hips", "spine_1", "spine_2", "spine_3", "neck_1", "head"), (
        "shoulder_1", "arm", "forearm", "hand", "upLeg", "leg", "foot", "toes")),
    "maya": ("{}_JNT", "L_{}_JNT", "R_{}_JNT", TRUNK, JOINTS),
    "no gaps": ("hero{}", "heroleft{}", "heroright{}", ("hips", "spine", "spine1", "spine2", "neck", "head"), (
        "shoulder", "arm", "forearm", "hand", "upleg", "leg", "foot", "toebase")),
    "capitals": ("{}", "LEFT{}", "RIGHT{}", ("HIPS", "SPINE", "SPINE1", "SPINE2", "NECK", "HEAD"), (
        "SHOULDER", "ARM", "FOREARM", "HAND", "UPLEG", "LEG", "FOOT", "TOE")),
}  # fmt: skip
"""Trunk, left and right as they are written, and the words of trunk and limbs in the order of `TRUNK` and `PARTS`."""


def renamed(text: str, new: dict[str, str]) -> str:
    """The file with other joint names."""
    lines = text.split("\n")
    for i, line in enumerate(lines):
        kind, _, name = line.partition(" ")
        if kind in ("ROOT", "JOINT"):
            lines[i] = f"{kind} {new[name]}"
    return "\n".join(lines)


def in_family(family: str) -> dict[str, str]:
    centre, left, right, trunk, parts = FAMILIES[family]
    names = {ours: centre.format(theirs) for ours, theirs in zip(TRUNK, trunk, strict=True)}
    for ours, theirs in zip(PARTS, parts, strict=True):
        names |= {f"Left{ours}": left.format(theirs), f"Right{ours}": right.format(theirs)}
    return names


@pytest.mark.parametrize("family", FAMILIES)
def test_every_naming_family_is_read_alike(family):
    text = bvh_file(MIXAMO)
    expected, motion = read_bvh(text), read_bvh(renamed(text, in_family(family)))
    assert np.allclose(motion.positions, expected.positions)
    assert "notes" not in motion.meta  # read from names alone


@pytest.mark.parametrize("name", ["joint{}", "bone_{:03d}", "кость{}", "骨{}", "Bone", "part {}"])
@pytest.mark.parametrize("backwards", [False, True])
def test_names_that_say_nothing_are_made_up_for_by_the_shape_of_the_tree(name, backwards):
    tree = MIXAMO
    if backwards:  # the right side first, and the arms before the head
        tree = dict(reversed(list(MIXAMO.items())))
    text = bvh_file(tree)
    joints = [line.partition(" ")[2] for line in text.split("\n") if line.startswith(("ROOT", "JOINT"))]
    motion = read_bvh(renamed(text, {joint: name.format(number) for number, joint in enumerate(joints)}))
    expected = read_bvh(text).positions
    assert np.allclose(motion.positions, expected)
    assert "found by the shape" in motion.meta["notes"][0]


def test_fingers_a_face_and_wrappers_do_not_change_the_shape():
    tree = {"Reference": (None, (0.0, 0.0, 0.0))} | MIXAMO | {"Hips": ("Reference", (0, 90, 0))}
    tree |= {"HeadTop": ("Head", (0, 18, 0)), "Jaw": ("Head", (0, 2, 6))}
    for side, x in (("Left", 1), ("Right", -1)):
        for finger in range(5):
            tree |= {f"{side}Finger{finger}": (f"{side}Hand", (x * 8.0, 0, 2.0 * finger - 4))}
            tree |= {f"{side}Tip{finger}": (f"{side}Finger{finger}", (x * 3.0, 0, 0))}
    text = bvh_file(tree)
    motion = read_bvh(renamed(text, {joint: f"j{number}" for number, joint in enumerate(tree)}))
    assert np.allclose(motion.positions, read_bvh(text).positions)


def test_legs_and_arms_may_hang_beside_one_another():
    """As where the root is a centre with an upper and a lower body."""
    tree = {"Centre": (None, (0.0, 0.0, 0.0)), "Hips": ("Centre", (0, -2.0, 0))}
    tree |= {name: value for name, value in MIXAMO.items() if name != "Hips"} | {"Spine": ("Centre", (0, 8.0, 0))}
    text = bvh_file(tree)
    motion = read_bvh(renamed(text, {joint: f"骨{number}" for number, joint in enumerate(tree)}))
    limbs = [i for i, name in enumerate(JOINT_NAMES) if "spine" not in name]
    assert np.allclose(motion.positions[:, limbs], read_bvh(text).positions[:, limbs])


def test_sides_that_names_give_are_kept_where_they_give_no_parts():
    names = {joint: f"x{number}" for number, joint in enumerate(MIXAMO)}
    names |= {joint: f"{name}_{joint[0]}" for joint, name in names.items() if joint.startswith(("Left", "Right"))}
    mirrored = {joint: name[:-1] + "RL"[name[-1] == "R"] if name[-1] in "LR" else name for joint, name in names.items()}
    text = bvh_file(MIXAMO)
    plain, other = (read_bvh(renamed(text, new)).positions for new in (names, mirrored))
    left, right = JOINT_NAMES.index("left_wrist"), JOINT_NAMES.index("right_wrist")
    assert np.allclose(plain[:, left], other[:, right])
    assert np.allclose(plain, read_bvh(text).positions)


def test_a_missing_neck_and_missing_toes_are_estimated_with_a_note():
    tree = {name: value for name, value in MIXAMO.items() if name != "Neck" and "Toe" not in name}
    tree |= {"Head": ("Spine2", (0, 25, 3))}
    text = bvh_file(tree).replace("End Site\n{\nOFFSET 0 0 2\n}", "")
    motion, whole = read_bvh(text), read_bvh(bvh_file(MIXAMO))
    assert motion.meta["notes"] == ["has no neck: it is estimated", "has no toes: they are estimated"]
    assert np.isfinite(motion.positions).all()
    for joint, parent in (("neck", "spine3"), ("left_foot", "left_ankle")):
        ours, theirs = (
            np.linalg.norm(
                m.positions[:, JOINT_NAMES.index(joint)] - m.positions[:, JOINT_NAMES.index(parent)], axis=-1
            )
            for m in (motion, whole)
        )
        assert np.allclose(ours, theirs, atol=0.06)


def test_a_joint_between_chest_and_head_is_the_neck_whatever_it_is_called():
    text = bvh_file(MIXAMO)
    motion = read_bvh(text.replace("JOINT Neck", "JOINT Spine9"))
    assert np.allclose(motion.positions, read_bvh(text).positions)
    assert "'Spine9'" in motion.meta["notes"][0]


def test_twist_and_steering_joints_are_not_taken_for_limbs():
    tree = {"IK_LeftHand": ("Hips", (3.0, 3.0, 3.0)), "LeftArmTwist": ("LeftArm", (9.0, 0, 0))}
    tree |= {"LeftFoot_ctrl": ("Hips", (0, -1.0, 0)), "weapon_LeftHand": ("Hips", (1.0, 1.0, 1.0))}
    text = bvh_file({"Hips": MIXAMO["Hips"], **tree, **MIXAMO})
    ours, theirs = joints_of(text, left_wrist="LeftHand", left_ankle="LeftFoot", left_shoulder="LeftArm")
    assert np.allclose(ours, theirs)


@pytest.mark.parametrize("unit", [0.01, 0.0254, 0.001, 1.0, 25.4e-3 / 0.45])
def test_the_unit_is_told_from_the_legs(unit):
    tree = {name: (parent, tuple(0.01 / unit * value for value in offset)) for name, (parent, offset) in MIXAMO.items()}
    legs = read_bvh(bvh_file(tree), fps=None).positions
    length = np.linalg.norm(legs[:, 4] - legs[:, 1], axis=-1)
    assert np.allclose(length, 0.4, atol=1e-4)
