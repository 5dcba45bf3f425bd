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
    ("missing", "named"),
    [("LeftLeg", "left_knee"), ("RightHand", "right_wrist"), ("Head", "head"), ("Neck", "neck"), ("Hips", "pelvis")],
)
def test_a_joint_that_cannot_be_found_is_named(missing, named):
    text = bvh_file(CMU).replace(f" {missing}\n", " thing\n")
    text = text.replace("Neck1", "other") if missing == "Neck" else text
    with pytest.raises(InvalidInput, match=named) as error:
        read_bvh(text, "start")
    assert error.value.field == "start"


def test_a_neck_that_does_not_hang_on_the_pelvis_still_maps():
    tree = BIOVISION | {"Root": (None, (0.0, 0.0, 0.0)), "Hips": ("Root", (0, 1, 0)), "Chest": ("Root", (0, 21, 0))}
    weights = joint_weights(parse_bvh(bvh_file(tree)))
    assert np.allclose(weights.sum(axis=1), 1)
